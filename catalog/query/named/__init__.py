"""Questions that come with us: one file each, whose first lines say what it answers and what can be set.

`-- TITLE.`, then `-- $NAME = DEFAULT: MEANING` for each parameter, the default as JSON. The command line, the HTTP endpoint,
docs/sql.md and the tests are all made of these files.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from catalog.query.question import Question, Value
from catalog.query.views import NOW, AsOf
from oci.errors import InvalidInput

_PARAMETER = re.compile(r"-- \$(\w+) = (.+?): (.+)")


@dataclass(frozen=True, slots=True)
class Parameter:
    """What can be set; a value is of the default's type."""

    name: str
    default: Value
    meaning: str


@dataclass(frozen=True, slots=True)
class NamedQuestion:
    """A question that comes with us."""

    name: str
    title: str
    parameters: tuple[Parameter, ...]
    sql: str

    def question(self, values: Mapping[str, Value], as_of: AsOf = NOW) -> Question:
        """With values in place of defaults; raise InvalidInput for a parameter that it has not."""
        known = {one.name: one.default for one in self.parameters}
        for name, value in values.items():
            if name not in known:
                raise InvalidInput(f"{self.name} has no parameter {name!r}; it has {', '.join(known) or 'none'}")
            if isinstance(known[name], str):
                known[name] = str(value)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                known[name] = value
            else:
                raise InvalidInput(f"{self.name}: {name} is a number, not {value!r}")
        return Question(self.sql, known, as_of)


def parse_named(name: str, text: str) -> NamedQuestion:
    """Read a file's text; raise InvalidInput."""
    head, _, rest = text.partition("\n")
    lines = rest.splitlines()
    parameters = []
    while lines and (found := _PARAMETER.fullmatch(lines[0])):
        parameters.append(Parameter(found[1], json.loads(found[2]), found[3]))
        lines.pop(0)
    if not head.startswith("-- ") or not lines or lines[0].startswith("--"):
        raise InvalidInput(f"question {name}: expected `-- TITLE.`, then lines `-- $NAME = DEFAULT: MEANING`, then SQL")
    return NamedQuestion(name, head.removeprefix("-- ").rstrip("."), tuple(parameters), "\n".join(lines).strip())


@cache
def named_questions() -> Mapping[str, NamedQuestion]:
    """All questions, by name."""
    found = {
        file.name.removesuffix(".sql"): file.read_text()
        for file in files(__name__).iterdir()
        if file.name.endswith(".sql")
    }
    return {name: parse_named(name, found[name]) for name in sorted(found)}


def find_named(name: str) -> NamedQuestion:
    """One question; raise InvalidInput that names them all."""
    found = named_questions().get(name)
    if found is None:
        raise InvalidInput(f"no question is called {name[:100]!r}; there are {', '.join(named_questions())}")
    return found
