"""Patterns of paths: which repositories, distributions or caches something is about; the same language everywhere.

`*` and `?` stay within one part of a path, `**` crosses parts: `team/*` is `team/app`, `team/**` is `team` and all below it.
Behind `re:` stands a regular expression that has to fit the whole path. Source: docs/filters.md, "Patterns of paths".
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field

from catalog.parsed_text import checked
from oci.errors import InvalidInput

_GLOB = "[a-z0-9._/*?-]{1,255}"
_EXPRESSION = r"re:\S{1,1000}"
_TOKENS = re.compile(r"/\*\*$|\*\*|.")
_MEANINGS = {"/**": r"(?:/.+)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}


def parse_path_pattern(text: str) -> str:
    """Return a pattern of paths as it stands; raise InvalidInput for one that cannot be read."""
    if not re.fullmatch(f"{_GLOB}|{_EXPRESSION}", text):
        raise InvalidInput(
            f"invalid pattern {text[:80]!r}: expected team/app, team/* (one part), team/** (any depth) or re:REGEX"
        )
    _compiled(text)
    return text


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    if not pattern.startswith("re:"):
        return re.compile("".join(_MEANINGS.get(token, re.escape(token)) for token in _TOKENS.findall(pattern)))
    try:
        return re.compile(pattern.removeprefix("re:"))
    except re.error as error:
        raise InvalidInput(f"invalid pattern {pattern[:80]!r}: expected a regular expression: {error}") from None


def matches(pattern: str, name: str) -> bool:
    """Return whether a path fits a pattern; raise InvalidInput for a pattern that cannot be read."""
    return _compiled(pattern).fullmatch(name) is not None


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
"""A pattern of paths as a field of a form, a record or a JSON body."""
