"""Which tags an operation selects: one small language, the same wherever content is filtered.

A pattern is a glob (`v1.*`), a regular expression behind `re:` that has to fit the whole tag (`re:v[0-9]+`), or a range of
semantic versions behind `semver:` (`semver:>=1.2 <2`, `semver:^1.4`). As an include it may also be a digest.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import translate
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from semver import Version

from catalog.filters.semver import newness, parse_range, parse_version
from catalog.parsed_text import checked
from oci.digest import Digest
from oci.errors import DigestInvalid, InvalidInput
from oci.reference import is_tag

Line = Literal["repository", "major", "minor"]
"""Of what the newest are counted: of all versions, of each major version, or of each `major.minor`."""

NewestBy = Literal["version", "created"]
"""What makes a tag newer than another: its semantic version, or when what it points to was created."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Tags kept, in the order they came, with the rule that keeps each; and tags dropped with the reason for each."""

    rules: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)

    @property
    def kept(self) -> tuple[str, ...]:
        """Return the tags kept."""
        return tuple(self.rules)

    def with_kept(self, rules: Mapping[str, str]) -> "Selection":
        """Return the selection with these tags kept too."""
        dropped = {tag: reason for tag, reason in self.dropped.items() if tag not in rules}
        return Selection({**self.rules, **rules}, dropped)

    def without(self, tags: Collection[str]) -> "Selection":
        """Return the selection as if these tags had never been there."""
        gone = set(tags)
        return Selection(
            {tag: rule for tag, rule in self.rules.items() if tag not in gone},
            {tag: reason for tag, reason in self.dropped.items() if tag not in gone},
        )

    def with_dropped(self, reasons: Mapping[str, str]) -> "Selection":
        """Return the selection with these tags dropped."""
        rules = {tag: rule for tag, rule in self.rules.items() if tag not in reasons}
        return Selection(rules, {**self.dropped, **reasons})


@dataclass(frozen=True, slots=True)
class TagFilter:
    """Selects tags: those that match any of `include` (all, where it is empty) and none of `exclude`; of these
    the `newest` of each `line`.

    An include may also be a digest: that manifest is selected without a tag. What is newest by creation, content tells: see
    catalog/filters/filter.py. Raises InvalidInput for a pattern that cannot be read.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    newest: int | None = None
    line: Line = "repository"
    newest_by: NewestBy = "version"

    @property
    def digests(self) -> tuple[Digest, ...]:
        """Return the manifests that are named by digest."""
        return tuple(Digest.parse(text) for text in self.include if _is_digest(text))

    @property
    def named(self) -> tuple[str, ...] | None:
        """Return the tags that are named as they are, if the filter needs no list of tags; else None."""
        patterns = [text for text in self.include if not _is_digest(text)]
        whole = self.include and self.newest is None and all(map(_is_literal, patterns))
        return tuple(patterns) if whole else None

    def select(self, tags: Iterable[str]) -> Selection:
        """Select tags by patterns, then the newest by version; a tag that is no version is not among the newest."""
        selection = self.match(tags)
        return selection if self.newest is None else keep_newest(selection, self.newest, self.line)

    def match(self, tags: Iterable[str]) -> Selection:
        """Select tags by patterns alone; a tag that is listed twice counts once."""
        patterns = [text for text in self.include if not _is_digest(text)]
        if self.include and not patterns:
            return Selection({}, dict.fromkeys(tags, "matches no include"))
        included, excluded = _compile(patterns), _compile(self.exclude)
        rules: dict[str, str] = {}
        dropped: dict[str, str] = {}
        for tag in dict.fromkeys(tags):
            kept, rule = _judge(tag, included, excluded)
            (rules if kept else dropped)[tag] = rule
        return Selection(rules, dropped)


def _is_digest(text: str) -> bool:
    return text.startswith(("sha256:", "sha512:"))


def _is_literal(pattern: str) -> bool:
    return is_tag(pattern)  # tags have none of the characters that make a glob, nor a colon


def keep_newest(
    selection: Selection, count: int, line: Line, *, created: Mapping[str, datetime | None] | None = None
) -> Selection:
    """Keep the newest `count` of each line: by version, or else by when what the tags point to was `created`."""
    dropped: dict[str, str] = {}
    ages: dict[str, Age] = {}
    for tag in selection.kept:
        version = parse_version(tag)
        if version is None and (created is None or line != "repository"):
            dropped[tag] = "not a version, so not among the newest"
        elif created is None:
            assert version is not None
            ages[tag] = newness(version)
        elif when := created.get(tag):
            ages[tag] = (when, version is not None, newness(version or Version(0)), tag)
        else:
            dropped[tag] = "creation unknown, so not among the newest"
    newest = {tag for tags in newest_first(ages, line) for tag in tags[:count]}
    among = f"among the {count} newest{'' if line == 'repository' else f' of each {line} version'}"
    among += "" if created is None else ", by creation"
    dropped |= {tag: f"not {among}" for tag in ages if tag not in newest}
    rules = {tag: f"{rule}, {among}" for tag, rule in selection.rules.items() if tag in newest}
    return Selection(rules, {**selection.dropped, **dropped})


Age = tuple[Any, ...]
"""What orders tags of one kind by how new they are, the newest having the greatest."""


def newest_first(ages: Mapping[str, Age], line: Line) -> list[list[str]]:
    """Return the tags of each line, the newest first."""
    lines: dict[tuple[int, ...], list[str]] = {}
    for tag in ages:
        version = None if line == "repository" else parse_version(tag)
        lines.setdefault(_line_of(version, line) if version else (), []).append(tag)
    return [sorted(tags, key=lambda tag: (ages[tag], tag), reverse=True) for tags in lines.values()]


def _line_of(version: Version, line: Line) -> tuple[int, ...]:
    return (version.major,) if line == "major" else (version.major, version.minor)


Matches = Callable[[str], bool]


def parse_tag_pattern(text: str) -> Matches:
    """Read one pattern; raise InvalidInput that says what is wrong with it. A digest matches no tag."""
    if _is_digest(text):
        try:
            Digest.parse(text)
        except DigestInvalid as error:
            raise InvalidInput(error.message) from None
        return lambda _tag: False
    if text.startswith("semver:"):
        versions = parse_range(text.removeprefix("semver:"))
        return lambda tag: (version := parse_version(tag)) is not None and versions(version)
    try:
        expression = re.compile(text.removeprefix("re:") if text.startswith("re:") else translate(text))
    except re.error as error:
        raise InvalidInput(f"invalid pattern {text!r}: expected a regular expression: {error}") from None
    return lambda tag: expression.fullmatch(tag) is not None


TagPattern = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(checked(parse_tag_pattern))]
"""A pattern of tags as a field of a form, a record or a JSON body."""


def _compile(patterns: Iterable[str]) -> Sequence[tuple[str, Matches]]:
    return [(text, parse_tag_pattern(text)) for text in patterns]


def _judge(
    tag: str, included: Sequence[tuple[str, Matches]], excluded: Sequence[tuple[str, Matches]]
) -> tuple[bool, str]:
    """Return whether a tag is kept, and the rule that says so."""
    if not is_tag(tag):
        return False, "not a valid tag"
    by = next((text for text, matches in included if matches(tag)), None)
    if included and by is None:
        return False, "matches no include"
    against = next((text for text, matches in excluded if matches(tag)), None)
    if against is not None:
        return False, f"excluded by {against}"
    return True, f"included by {by}" if by else "every tag is included"
