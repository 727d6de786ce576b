"""Which manifests of a repository are held or blocked now, and until when. Pure.

A manifest may be pulled by the first of these that applies:

1. A block that is in force refuses it. A block on an index refuses the parts that no other index names.
2. A release that is in force lets it pass, and the parts of an index with it.
3. What is older than the hold passes. Its age counts from the earliest of: the log or timestamp of a verified signature; when
   a version first added it here; the date that the image states, where the rule trusts it (`age_start`).
4. A part of an index that passes does so too: the index's digest fixes it.
5. Statements about other content, such as signatures, pass: no client runs them, and verification needs them. What has an image's
   config is one only if its bytes are, too: some clients unpack such layers whatever their types.
6. All else is held.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from catalog.gates.repository_facts import RepositoryFacts
from catalog.gates.verdicts import Refusal, Verdicts
from catalog.holds.rules import HoldDecision, HoldRule
from catalog.units import format_duration, format_time, parse_time
from oci.digest import Digest
from oci.errors import InvalidInput

EARLIEST = datetime(2013, 3, 1, tzinfo=UTC)
"""No image is older than Docker: builds that are to be reproducible state dates such as 1970-01-01."""


@dataclass(frozen=True, slots=True)
class KnownTimes:
    """What is known of manifests besides the repository's own facts.

    `logged`: when a transparency log or timestamp authority has seen a signature that a policy in use counts. `elsewhere`: when
    it came here from the same upstream, into another repository. `is_statement`: whether a manifest's layers are statements by
    their bytes.
    """

    logged: Mapping[Digest, datetime] = field(default_factory=dict)
    elsewhere: Mapping[Digest, datetime] = field(default_factory=dict)
    is_statement: Callable[[Digest], bool] = lambda _digest: False


def age_start(first_seen: datetime, *, logged: datetime | None = None, stated: datetime | None = None) -> datetime:
    """Return the time that the age of a manifest counts from: the earliest of what counts.

    `stated` is the image's own date, where it is trusted. Later than `first_seen` or before EARLIEST it is no fact.
    """
    start = first_seen if logged is None else min(first_seen, logged)
    return min(start, stated) if stated is not None and stated >= EARLIEST else start


def judge_holds(
    facts: RepositoryFacts,
    rule: HoldRule | None,
    decisions: Iterable[HoldDecision],
    now: datetime,
    times: KnownTimes | None = None,
) -> Verdicts:
    """Return which manifests are refused. Without a rule, only blocks refuse any; then tags do not step back."""
    in_force = [decision for decision in decisions if decision.is_in_force(now)]
    blocks = {one.digest: one for one in in_force if one.action == "block"}
    releases = {one.digest: one for one in in_force if one.action == "release"}
    blocked = _blocked(facts, blocks)
    refused = {digest: _block(blocks[by], by, digest, steps_back=rule is not None) for digest, by in blocked.items()}
    ends = [one.expires_at for one in in_force if one.expires_at is not None]
    times = times or KnownTimes()
    if rule is not None:
        ages = {digest: _start(facts, digest, rule, times) for digest in facts.manifests}
        passing = [digest for digest in facts.manifests if digest in releases or ages[digest] + rule.duration <= now]
        passed = _with_parts(facts, passing, blocked)
        for digest, start in ages.items():
            if digest not in passed and digest not in blocked and not _is_companion(facts, digest, times):
                until = start + rule.duration
                ends.append(until)
                refused[digest] = _hold(rule, start, until)
    return Verdicts(refused, until=min((end for end in ends if end > now), default=None))


def _blocked(facts: RepositoryFacts, blocks: Mapping[Digest, HoldDecision]) -> dict[Digest, Digest]:
    """Return what blocks refuse, each with the digest that the block is about."""
    found = {digest: digest for digest in blocks}
    waiting = [digest for digest in blocks if digest in facts.manifests]
    while waiting:
        parent = waiting.pop()
        for part in facts.manifests[parent].parts:
            if part not in found and all(other in found for other in facts.parents.get(part, ())):
                found[part] = found[parent]
                if part in facts.manifests:
                    waiting.append(part)
    return found


def _with_parts(facts: RepositoryFacts, roots: Sequence[Digest], blocked: Mapping[Digest, Digest]) -> set[Digest]:
    """Return manifests that pass, with the parts that pass with them."""
    found: set[Digest] = set()
    waiting = list(roots)
    while waiting:
        digest = waiting.pop()
        if digest in found or digest in blocked or digest not in facts.manifests:
            continue
        found.add(digest)
        waiting += facts.manifests[digest].parts
    return found


def _is_companion(facts: RepositoryFacts, digest: Digest, times: KnownTimes) -> bool:
    """Return whether a manifest holds statements alone, or is an index of such."""
    parts = facts.manifests[digest].parts
    return _holds_statements(facts, digest, times) or (
        bool(parts) and all(_holds_statements(facts, part, times) for part in parts)
    )


def _holds_statements(facts: RepositoryFacts, digest: Digest, times: KnownTimes) -> bool:
    found = facts.manifests.get(digest)
    return found is not None and found.is_companion and (not found.has_image_config or times.is_statement(digest))


def _start(facts: RepositoryFacts, digest: Digest, rule: HoldRule, times: KnownTimes) -> datetime:
    seen = facts.manifests[digest].first_seen
    seen = min(seen, times.elsewhere.get(digest, seen))
    stated = _stated(facts, digest, times) if rule.trust_created else None
    return age_start(seen, logged=times.logged.get(digest), stated=stated)


def _stated(facts: RepositoryFacts, digest: Digest, times: KnownTimes) -> datetime | None:
    """Return the date that an image states; of an index the newest of its images, None unless all are here and state one."""
    found = facts.manifests[digest]
    if not found.parts:
        return _parse(found.created)
    parts = [facts.manifests.get(part) for part in found.parts if not _holds_statements(facts, part, times)]
    stated = [None if part is None else _parse(part.created) for part in parts]
    return max((one for one in stated if one is not None), default=None) if None not in stated else None


def _parse(text: str) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except InvalidInput:
        return None


def _hold(rule: HoldRule, start: datetime, until: datetime) -> Refusal:
    text = (
        f"is held for {format_duration(rule.duration)} below {rule.pattern}, until {_minute(until)}: "
        f"it is known since {_minute(start)}"
    )
    return Refusal(text, until, steps_back=True)


def _block(block: HoldDecision, by: Digest, digest: Digest, *, steps_back: bool) -> Refusal:
    what = "is blocked" if by == digest else f"is a part of {by}, which is blocked"
    owner = f" by {block.owner}" if block.owner else ""
    until = f", until {_minute(block.expires_at)}" if block.expires_at else ""
    return Refusal(f"{what}{owner}{until}: {block.reason}", block.expires_at, steps_back=steps_back)


def _minute(moment: datetime) -> str:
    return format_time(moment.replace(microsecond=0))
