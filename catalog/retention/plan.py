"""Plans what retention removes from a repository, with the reason for each: a pure rule."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from catalog.filters.companions import COMPANION_TAGS
from catalog.filters.conditions import parse_pair
from catalog.filters.facts import Facts
from catalog.filters.tags import Selection, keep_newest, parse_tag_pattern
from catalog.pull_counts import PullSums
from catalog.retention.rules import RetentionRule
from catalog.retention.times import Times
from catalog.units import moment_of
from catalog.versions.removal import Children, plan_removal
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest

_is_companion = parse_tag_pattern(COMPANION_TAGS)


@dataclass(frozen=True, slots=True)
class Item:
    """A tag, an untagged manifest or a version; whether it goes, and why or why not."""

    kind: str
    name: str
    goes: bool
    reason: str


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What is left of the latest version, and every item that was judged."""

    left: Snapshot
    items: tuple[Item, ...]


def plan_retention(
    snapshot: Snapshot,
    rules: Sequence[RetentionRule],
    *,
    facts: Mapping[Digest, Facts],
    times: Times,
    pulls: PullSums,
    children: Children,
    immutable: Collection[str],
    now: datetime,
) -> RetentionPlan:
    """Judge the tags and untagged manifests of a latest version by the rules that fit its repository.

    A tag stays if any rule that judges tags keeps it, or if it fits one of the `immutable` globs. Tags that hold companions are
    not judged: these live and die with their subject. What something else needs stays.
    """
    items: list[Item] = []
    reasons = _reasons_to_keep(snapshot, rules, facts, times, pulls, immutable, now)
    going = []
    if any(rule.judges_tags for rule in rules):
        for tag in snapshot.sorted_tags:
            if _belongs(snapshot, tag):
                continue
            reason = reasons.get(tag, "")
            items.append(Item("tag", tag, not reason, reason or "no rule keeps it"))
            going += [] if reason else [tag]
    left = plan_removal(snapshot, tags=going, children=children).left if going else snapshot
    protected = {digest for digest, found in facts.items() if _label_of(found, rules)}
    while old := _old_untagged(left, rules, times, children, protected, now):
        shorter = plan_removal(left, digests=old, children=children).left
        gone = left.manifests.keys() - shorter.manifests.keys()
        if not gone:
            break
        items += [Item("manifest", one, True, old[one]) for one in sorted(old.keys() & gone)]
        left = shorter
    return RetentionPlan(left, tuple(items))


def _belongs(snapshot: Snapshot, tag: str) -> bool:
    """Return whether a tag holds companions of a manifest of the version."""
    if not _is_companion(tag):
        return False
    algorithm, _, rest = tag.partition("-")
    return any(digest.startswith(f"{algorithm}:{rest.partition('.')[0]}") for digest in snapshot.manifests)


def _reasons_to_keep(
    snapshot: Snapshot,
    rules: Sequence[RetentionRule],
    facts: Mapping[Digest, Facts],
    times: Times,
    pulls: PullSums,
    immutable: Collection[str],
    now: datetime,
) -> dict[str, str]:
    """Return the first reason for each tag that stays."""
    reasons: dict[str, str] = {}
    for tag, digest in snapshot.tags.items():
        glob = next((one for one in immutable if fnmatchcase(tag, one)), None)
        if glob is not None:
            reasons[tag] = f"immutable, since it fits {glob}"
        elif digest in facts and (label := _label_of(facts[digest], rules)):
            reasons[tag] = f"has the label {label}"
    for rule in rules:
        for tag, reason in _kept_by(rule, snapshot, times, pulls, now):
            reasons.setdefault(tag, f"rule {rule.name}: {reason}")
    return reasons


def _label_of(facts: Facts, rules: Iterable[RetentionRule]) -> str:
    """Return the first label of the rules by which content is kept; empty for none."""
    return next((text for rule in rules for text in rule.labels if parse_pair(text).holds(facts.labels)), "")


def _kept_by(
    rule: RetentionRule, snapshot: Snapshot, times: Times, pulls: PullSums, now: datetime
) -> Iterable[tuple[str, str]]:
    tags = [tag for tag in snapshot.tags if not _belongs(snapshot, tag)]
    fitting = [(text, parse_tag_pattern(text)) for text in rule.keep]
    yield from ((tag, f"fits {text}") for tag in tags for text, fits in fitting if fits(tag))
    if rule.newest is not None:
        yield from keep_newest(Selection(dict.fromkeys(tags, "a tag")), rule.newest, rule.line).rules.items()
    if rule.set_within:
        since = moment_of(rule.set_within, now)
        yield from ((tag, f"set within {rule.set_within}") for tag in tags if times.tags.get(tag, now) >= since)
    if rule.pulled_within:
        since = moment_of(rule.pulled_within, now)
        for tag in tags:
            last = pulls.last_of_tag(tag, snapshot.tags[tag])
            if last is not None and last >= since:
                yield tag, f"pulled within {rule.pulled_within}"


def _old_untagged(
    left: Snapshot,
    rules: Sequence[RetentionRule],
    times: Times,
    children: Children,
    protected: Collection[Digest],
    now: datetime,
) -> dict[Digest, str]:
    """Return the manifests without a tag or parent for longer than a rule allows."""
    ages = [rule.untagged_after for rule in rules if rule.untagged_after]
    if not ages:
        return {}
    age = min(ages, key=lambda text: moment_of(text, now))
    since = moment_of(age, now)
    needed = {part for parent in left.manifests for part in children.get(parent, ())} | set(left.tags.values())
    return {
        digest: f"untagged for more than {age}"
        for digest, entry in left.manifests.items()
        if digest not in needed
        and digest not in protected
        and entry.subject not in left.manifests
        and times.manifests.get(digest, now) < since
    }


def plan_versions(
    numbers: Sequence[int], rules: Sequence[RetentionRule], *, pinned: Collection[int], served: Collection[int]
) -> list[Item]:
    """Judge versions, the newest first: of several rules the one that keeps most counts; the latest, and those that are pinned or
    served, stay."""
    counts = [rule.versions for rule in rules if rule.versions is not None]
    if not counts:
        return []
    keep, items = max(counts), list[Item]()
    for place, number in enumerate(sorted(numbers, reverse=True)):
        if place < keep:
            reason, goes = f"among the {keep} newest", False
        elif number in pinned:
            reason, goes = "pinned", False
        elif number in served:
            reason, goes = "served by a distribution", False
        else:
            reason, goes = f"not among the {keep} newest", True
        items.append(Item("version", str(number), goes, reason))
    return items
