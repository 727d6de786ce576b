"""Which manifests have a warning or are refused, by rules about their life. Pure.

1. A rule applies to the manifests that its tags point to, or to all. 2. The end of life is the rule's own date, else the one that
is published for the manifest. 3. From then on its pulls are warned, or refused where the rule says so; shortly before, they are
warned. 4. Of an index that is refused, the parts are that no other index names.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from catalog.filters.tags import parse_tag_pattern
from catalog.gates.repository_facts import RepositoryFacts
from catalog.gates.verdicts import Refusal, Verdicts
from catalog.lifecycle.rules import LifecycleRule
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest


def judge_lifecycles(
    path: str,
    snapshot: Snapshot,
    facts: RepositoryFacts,
    rules: Iterable[LifecycleRule],
    published: Mapping[Digest, datetime],
    now: datetime,
) -> Verdicts:
    """Return the warnings and refusals of a path; each rule applies to what it serves. `published` are dates by manifest."""
    refused: dict[Digest, Refusal] = {}
    warnings: dict[Digest, tuple[str, ...]] = {}
    ends: list[datetime] = []
    for rule in rules:
        name = f"{path}:{rule.tag}" if rule.tag else path
        for digest in _selected(snapshot, rule):
            end = rule.end_of_life or (_published_end(facts, digest, published) if rule.published else None)
            if end is not None:
                ends += [moment for moment in (end, _before(end, rule)) if moment > now]
            if end is not None and end <= now and rule.refuse:
                refused[digest] = Refusal(f"({text_of(name, rule, end, now)}) can no longer be pulled")
            elif (text := text_of(name, rule, end, now)) and text not in warnings.get(digest, ()):
                warnings[digest] = (*warnings.get(digest, ()), text)
    for part, parent in _parts_refused(facts, refused):
        refused[part] = refused[parent]
    return Verdicts(refused, warnings, min(ends, default=None))


def text_of(name: str, rule: LifecycleRule, end: datetime | None, now: datetime) -> str:
    """Return the warning about what a name stands for; empty for none."""
    said: list[str] = []
    if end is not None and end <= now:
        said.append(f"reached its end of life on {end.date().isoformat()}")
    elif end is not None and _before(end, rule) <= now:
        said.append(f"reaches its end of life on {end.date().isoformat()}")
    if rule.deprecated:
        said.append("is deprecated")
    is_always_told = end is None and not rule.published
    if not said and not (is_always_told and (rule.successor or rule.message)):
        return ""
    parts = [f"{name} {' and '.join(said)}" if said else name]
    if rule.successor:
        parts.append(f"use {rule.successor}")
    if rule.message:
        parts.append(rule.message)
    return "; ".join(parts)


def _before(end: datetime, rule: LifecycleRule) -> datetime:
    try:
        return end - rule.warn_before
    except OverflowError:
        return datetime.min.replace(tzinfo=end.tzinfo)


def _selected(snapshot: Snapshot, rule: LifecycleRule) -> Iterable[Digest]:
    if not rule.tag:
        return snapshot.manifests
    fits = parse_tag_pattern(rule.tag)
    return {digest for tag, digest in snapshot.tags.items() if fits(tag)}


def _published_end(facts: RepositoryFacts, digest: Digest, published: Mapping[Digest, datetime]) -> datetime | None:
    """Return the date published for a manifest; for an index without one the last of its images, where all have one."""
    found = published.get(digest)
    known = facts.manifests.get(digest)
    if found is not None or known is None or not known.parts:
        return found
    parts = [part for part in known.parts if part not in facts.manifests or not facts.manifests[part].is_companion]
    dates = [published.get(part) for part in parts]
    return max((one for one in dates if one is not None), default=None) if None not in dates else None


def _parts_refused(facts: RepositoryFacts, refused: Mapping[Digest, Refusal]) -> Iterator[tuple[Digest, Digest]]:
    """Yield the parts that only refused indexes name, each with the index; an index of indexes first."""
    found = set(refused)
    waiting = [digest for digest in refused if digest in facts.manifests]
    while waiting:
        parent = waiting.pop()
        for part in facts.manifests[parent].parts:
            if part not in found and all(other in found for other in facts.parents.get(part, ())):
                found.add(part)
                yield part, parent
                if part in facts.manifests:
                    waiting.append(part)
