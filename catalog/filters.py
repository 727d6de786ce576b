"""Which tags and platforms an operation takes: one small language, the same wherever content is filtered.

A pattern is a glob (`v1.*`), a regular expression behind `re:` that has to fit the whole tag (`re:v[0-9]+`), or a range of
semantic versions behind `semver:` (`semver:>=1.2 <2`, `semver:^1.4`).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate

from catalog.version_ranges import parse_range, parse_version
from oci.descriptor import Descriptor
from oci.errors import InvalidInput
from oci.manifest import Manifest
from oci.platform import Platform
from oci.reference import is_tag

_ATTESTED = "vnd.docker.reference.digest"
"""The annotation by which BuildKit says which image of the same index an attestation manifest is about."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Tags kept, in the order they came, and tags dropped with the reason for each."""

    kept: tuple[str, ...]
    dropped: Mapping[str, str] = field(default_factory=dict)


def select_tags(
    tags: Iterable[str], *, include: Sequence[str] = (), exclude: Sequence[str] = (), newest: int | None = None
) -> Selection:
    """Keep the tags that match any of `include` (all, where it is empty) and none of `exclude`; of these the `newest` ones.

    Newest are those of the highest semantic versions; a tag that is no version is not among them. A tag listed twice counts
    once. Raises InvalidInput for a pattern that cannot be read.
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
    if newest is not None:
        kept = _keep_newest(kept, newest, dropped)
    return Selection(tuple(kept), dropped)


def _keep_newest(tags: Sequence[str], count: int, dropped: dict[str, str]) -> list[str]:
    versions = {tag: version for tag in tags if (version := parse_version(tag)) is not None}
    newest = set(sorted(versions, key=lambda tag: (versions[tag], tag), reverse=True)[:count])
    for tag in tags:
        if tag not in versions:
            dropped[tag] = "not a version, so not among the newest"
        elif tag not in newest:
            dropped[tag] = f"not among the {count} newest"
    return [tag for tag in tags if tag in newest]


Matches = Callable[[str], bool]


def parse_pattern(text: str) -> Matches:
    """Read one pattern; raise InvalidInput that says what is wrong with it."""
    if text.startswith("semver:"):
        versions = parse_range(text.removeprefix("semver:"))
        return lambda tag: (version := parse_version(tag)) is not None and versions(version)
    try:
        expression = re.compile(text.removeprefix("re:") if text.startswith("re:") else translate(text))
    except re.error as error:
        raise InvalidInput(f"{text!r} is not a regular expression: {error}") from None
    return lambda tag: expression.fullmatch(tag) is not None


def _compile(patterns: Iterable[str]) -> Sequence[tuple[str, Matches]]:
    return [(text, parse_pattern(text)) for text in patterns]


def _reason_to_drop(tag: str, included: Sequence[tuple[str, Matches]], excluded: Sequence[tuple[str, Matches]]) -> str:
    if not is_tag(tag):
        return "not a valid tag"
    if included and not any(matches(tag) for _text, matches in included):
        return "matches no include"
    return next((f"excluded by {text}" for text, matches in excluded if matches(tag)), "")


Part = tuple[str, Descriptor]
"""A part of a manifest with its role."""


@dataclass(frozen=True, slots=True)
class PlatformFilter:
    """Which children of an index are taken; with none wanted, all. The index itself keeps its bytes and digest."""

    wanted: tuple[Platform, ...] = ()

    def children(self, manifest: Manifest) -> Sequence[Part]:
        """A manifest's parts by role, without an index's children of other platforms.

        Children that name no platform stay; attestations stay with the image they are about.
        """
        parts = list(manifest.children())
        if not self.wanted or not manifest.is_index:
            return parts
        unwanted = {child.digest for _role, child in parts if not self._is_wanted(child)}
        return [
            (role, child)
            for role, child in parts
            if child.digest not in unwanted and child.annotations.get(_ATTESTED) not in unwanted
        ]

    def children_of_some(self, manifest: Manifest) -> Sequence[Part]:
        """As `children`; raise InvalidInput when an index names platforms, and none of those wanted."""
        kept = self.children(manifest)
        there = sorted({str(child.platform) for _role, child in manifest.children() if _names_platform(child)})
        if self.wanted and manifest.is_index and there and not any(_names_platform(child) for _role, child in kept):
            raise InvalidInput(f"has none of {', '.join(map(str, self.wanted))}; it has {', '.join(there)}")
        return kept

    def _is_wanted(self, child: Descriptor) -> bool:
        platform = child.platform
        if platform is None or not _names_platform(child):
            return True
        return any(platform.matches(wanted) for wanted in self.wanted)


def _names_platform(child: Descriptor) -> bool:
    return child.platform is not None and child.platform.os not in ("", "unknown")
