"""A filter as a whole: tags by pattern, then what they point to by conditions, then the newest of what is left.

Pure rules. Who has all facts at hand asks `select`; a sync, to which each fact costs requests, asks `to_judge` what it has
to find out next, until that is nothing, and then `settle`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from catalog.filters.companions import COMPANION_TAGS
from catalog.filters.conditions import Conditions
from catalog.filters.facts import Facts
from catalog.filters.semver import newness, parse_version
from catalog.filters.tags import Selection, TagFilter, keep_newest, newest_first, parse_tag_pattern
from oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter: tags by pattern, conditions on what they point to, and last the newest of what is left."""

    tags: TagFilter = field(default_factory=TagFilter)
    conditions: Conditions = field(default_factory=Conditions)

    @property
    def asks_content(self) -> bool:
        """Return whether the selection needs facts of content, besides tags."""
        return bool(self.conditions) or self._by_creation

    @property
    def _by_creation(self) -> bool:
        return self.tags.newest is not None and self.tags.newest_by == "created"

    @property
    def of_named(self) -> "Filter":
        """Return the filter for content that is named: the conditions hold, the newest are not counted."""
        return Filter(conditions=self.conditions)

    @property
    def asks_configs(self) -> bool:
        """Return whether image configs are read, besides manifests."""
        found = self.conditions
        return bool(found.types or found.labels or found.newer_than or found.older_than or self._by_creation)

    @property
    def asks_manifests(self) -> bool:
        """Return whether manifests are read; whether one is signed is known without them."""
        return self.asks_configs or bool(self.conditions.annotations)

    def candidates(self, tags: Iterable[str]) -> Selection:
        """Return the tags that patterns select. Where content decides, cosign's tags come with their images alone."""
        if not self.asks_content:
            return self.tags.select(tags)
        found = self.tags.match(tags)
        is_companion = parse_tag_pattern(COMPANION_TAGS)
        return found.with_dropped(
            {tag: "comes only with the image it belongs to" for tag in found.kept if is_companion(tag)}
        )

    def select(self, pointing: Mapping[str, Digest], facts: Mapping[Digest, Facts], now: datetime) -> Selection:
        """Select tags, given the facts of what the candidates point to."""
        found = self.candidates(pointing)
        return self.settle(found, {tag: facts[pointing[tag]] for tag in found.kept if pointing[tag] in facts}, now)

    def to_judge(self, candidates: Collection[str], verdicts: Mapping[str, bool], *, ahead: int = 0) -> list[str]:
        """Return the candidates whose content is judged next, given verdicts on others; none: `settle` can select.

        By version, older ones are looked at only where newer ones have failed, and `ahead` more than that needs.
        """
        if not self.asks_content:
            return []
        if self.tags.newest is None or self._by_creation:
            return [tag for tag in candidates if tag not in verdicts]
        versions = {tag: newness(version) for tag in candidates if (version := parse_version(tag)) is not None}
        wanted: set[str] = set()
        for tags in newest_first(versions, self.tags.line):
            open_places = self.tags.newest
            unknown: list[str] = []
            for tag in tags:
                if open_places <= 0 and (not unknown or len(unknown) >= ahead):
                    break
                if tag not in verdicts:
                    unknown.append(tag)
                open_places -= verdicts.get(tag, True)
            wanted.update(unknown)
        return [tag for tag in candidates if tag in wanted]

    def settle(self, candidates: Selection, facts: Mapping[str, Facts], now: datetime) -> Selection:
        """Select among candidates, given the facts of those that `to_judge` returned."""
        if not self.asks_content:
            return candidates
        judged = self._judge(candidates, facts, now)
        if self.tags.newest is None:
            return judged
        created = {tag: found.created for tag, found in facts.items()} if self._by_creation else None
        return keep_newest(judged, self.tags.newest, self.tags.line, created=created)

    def _judge(self, candidates: Selection, facts: Mapping[str, Facts], now: datetime) -> Selection:
        """Judge each candidate. One without facts is not selected, unless newer ones decide about it."""
        rules: dict[str, str] = {}
        dropped: dict[str, str] = {}
        is_counted = self.tags.newest is not None
        for tag, rule in candidates.rules.items():
            found = facts.get(tag)
            kept, words = self.conditions.judge(found, now) if found else (is_counted, "nothing is known of it")
            if not kept:
                dropped[tag] = words
            else:
                rules[tag] = f"{rule}, {words}" if found and words else rule
        return Selection(rules, {**candidates.dropped, **dropped})
