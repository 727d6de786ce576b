"""Patterns of paths: which repositories, distributions or caches something is about; the same language everywhere.

`*` and `?` stay within one part of a path, `**` crosses parts: `team/*` is `team/app`, `team/**` is `team` and all below it.
Behind `re:` stands a regular expression that has to fit the whole path. Source: docs/patterns.md, "Patterns of paths".
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field

from catalog.parsed_text import checked
from oci.errors import InvalidInput

_GLOB = "[a-z0-9._/*?-]{1,255}"
_EXPRESSION = r"re:\S{1,1000}"
_MEANINGS = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
_FEW = 2
"""Wildcards up to which a regular expression is the quickest; what it may have to try grows with the power of their number."""

Matcher = Callable[[str], bool]


def parse_path_pattern(text: str) -> str:
    """Return a pattern of paths as it stands; raise InvalidInput for one that cannot be read."""
    if not re.fullmatch(f"{_GLOB}|{_EXPRESSION}", text):
        raise InvalidInput(
            f"invalid pattern {text[:80]!r}: expected team/app, team/* (one part), team/** (any depth) or re:REGEX"
        )
    _matcher(text)
    return text


def parse_path_glob(text: str) -> str:
    """Return a pattern that is no regular expression, for what any account may write; raise InvalidInput for all else."""
    if not re.fullmatch(_GLOB, text):
        raise InvalidInput(
            f"invalid pattern {text[:80]!r}: expected team/app, team/* (one part) or team/** (any depth)"
        )
    return text


@lru_cache(maxsize=4096)
def _matcher(pattern: str) -> Matcher:
    if pattern.startswith("re:"):
        try:
            expression = re.compile(pattern.removeprefix("re:"))
        except re.error as error:
            raise InvalidInput(f"invalid pattern {pattern[:80]!r}: expected a regular expression: {error}") from None
        return lambda name: expression.fullmatch(name) is not None
    if pattern.endswith("/**"):  # what stands before, and all below it
        itself, below = _glob(_tokens(pattern[:-3])), _glob([*_tokens(pattern[:-2]), "any", "**"])
        return lambda name: itself(name) or below(name)
    return _glob(_tokens(pattern))


def _tokens(glob: str) -> list[str]:
    """Return the letters and wildcards of a glob, with stars in a row as one."""
    return ["**" if len(token) > 1 else token for token in re.findall(r"\*+|[^*]", glob)]


def _glob(tokens: Sequence[str]) -> Matcher:
    if sum(token in _MEANINGS for token in tokens) > _FEW:
        return _by_states(tokens)
    meanings = {**_MEANINGS, "any": "."}
    expression = re.compile("".join(meanings.get(token) or re.escape(token) for token in tokens))
    return lambda name: expression.fullmatch(name) is not None


def _by_states(tokens: Sequence[str]) -> Matcher:
    """Return a matcher whose work is the length of the name times that of the pattern, whatever both are.

    State n, a bit of a number, says that the first n tokens fit what was read. Source: Thompson's construction.
    """
    places: dict[str, int] = {}
    for place, token in enumerate(tokens):
        places[token] = places.get(token, 0) | 1 << place
    deep, stars = places.get("**", 0), places.get("*", 0) | places.get("**", 0)
    one, always = places.get("?", 0), places.get("any", 0)

    def fits(name: str) -> bool:
        states = 1 | (1 & stars) << 1
        for letter in name:
            passing = always | places.get(letter, 0) | (one if letter != "/" else 0)
            staying = deep if letter == "/" else stars
            states = (states & passing) << 1 | (states & staying)
            states |= (states & stars) << 1
        return bool(states >> len(tokens) & 1)

    return fits


def matches(pattern: str, name: str) -> bool:
    """Return whether a path fits a pattern; raise InvalidInput for a pattern that cannot be read."""
    return _matcher(pattern)(name)


def matches_any(patterns: Iterable[str], name: str) -> bool:
    """Return whether a path fits one of the patterns."""
    return any(matches(pattern, name) for pattern in patterns)


def select_paths(names: Iterable[str], *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
    """Return the paths that fit any of `include` (all, where it is empty) and none of `exclude`, in the order given."""
    return [name for name in names if (not include or matches_any(include, name)) and not matches_any(exclude, name)]


PathPattern = Annotated[
    str,
    AfterValidator(checked(parse_path_pattern)),
    Field(json_schema_extra={"pattern": f"^({_GLOB}|{_EXPRESSION})$", "examples": ["team/**"]}),
]
"""A pattern of paths as a field of a form, a record or a JSON body that operators write."""

PathGlob = Annotated[
    str,
    AfterValidator(checked(parse_path_glob)),
    Field(json_schema_extra={"pattern": f"^{_GLOB}$", "examples": ["team/**"]}),
]
"""A pattern of paths that is no regular expression, as a field of what any account may write: rights and scopes."""
