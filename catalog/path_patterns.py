"""Patterns of paths: which repositories, distributions or caches a rule is about."""

import re
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, Field

from oci.errors import InvalidInput

_PATTERN = re.compile(r"[a-z0-9._/*?-]{1,255}")


def parse_pattern(text: str) -> str:
    """Read a pattern of repository paths; raise InvalidInput."""
    if not _PATTERN.fullmatch(text):
        raise InvalidInput(
            f"{text[:80]!r} is no pattern of repositories; such as team/app, team/* (one part) or team/** (any)"
        )
    return text


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = {"/**": r"(?:/.+)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    return re.compile("".join(parts.get(part, re.escape(part)) for part in re.findall(r"/\*\*$|\*\*|.", pattern)))


def matches(pattern: str, name: str) -> bool:
    """Return whether a path fits: `*` and `?` stay within one part, `**` crosses parts, `team/**` is team and all below it."""
    return _compiled(pattern).fullmatch(name) is not None


Pattern = Annotated[str, AfterValidator(parse_pattern), Field(json_schema_extra={"pattern": f"^{_PATTERN.pattern}$"})]
