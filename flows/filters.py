"""Which tags an operation takes: globs, the same wherever tags are filtered."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate

from oci.reference import is_tag


@dataclass(frozen=True, slots=True)
class Selection:
    """Tags kept, in the order they came, and tags dropped with the reason for each."""

    kept: tuple[str, ...]
    dropped: Mapping[str, str] = field(default_factory=dict)


def select_tags(tags: Iterable[str], *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Selection:
    """Keep the tags that match any of `include` (all, where it is empty) and none of `exclude`.

    Globs know `*`, `?` and `[…]`, and tell upper from lower case. A tag listed twice counts once.
    """
    included, excluded = _compile(include), _compile(exclude)
    kept: list[str] = []
    dropped: dict[str, str] = {}
    for tag in dict.fromkeys(tags):
        reason = _reason_to_drop(tag, included, excluded)
        if reason:
            dropped[tag] = reason
        else:
            kept.append(tag)
    return Selection(tuple(kept), dropped)


_Globs = Sequence[tuple[str, re.Pattern[str]]]


def _compile(globs: Iterable[str]) -> _Globs:
    return [(glob, re.compile(translate(glob))) for glob in globs]


def _reason_to_drop(tag: str, included: _Globs, excluded: _Globs) -> str:
    if not is_tag(tag):
        return "not a valid tag"
    if included and not any(pattern.match(tag) for _glob, pattern in included):
        return "matches no include"
    for glob, pattern in excluded:
        if pattern.match(tag):
            return f"excluded by {glob}"
    return ""
