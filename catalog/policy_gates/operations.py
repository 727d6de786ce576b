"""Gates in operations: what policies say of the tags and manifests that a sync, promotion, export or import is about.

1. Each tag is judged, and each manifest that comes without one and that no other lists; parts of an index come with it.
2. What a gate refuses is left out, with what belongs to it alone; the caller says what becomes of the rest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from catalog.audit import Events
from catalog.filters.companions import CompanionFilter
from catalog.policy.evidence import EvidenceSource
from catalog.policy.gate_rules import GatedName, GatePoint, PolicyGateRule, gates_of
from catalog.policy.store import Policies
from catalog.policy_gates.decisions import GateAnswer, GateFinding, PolicyGates
from catalog.policy_gates.reports import ACTIONS, ONCE_IN, finding_event
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.reference import is_tag

_TOLD_AT_MOST = 100
_REASON = 500

Children = Mapping[Digest, tuple[Digest, ...]]


@dataclass(frozen=True, slots=True)
class JudgedContent:
    """What gates say: the reason by tag or digest that is refused, remarks on what gates only warn of, and all findings."""

    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    findings: Mapping[Digest, tuple[GateFinding, ...]] = field(default_factory=dict)


def gates_at(
    policies: Policies, point: GatePoint, repository: str, paths: Iterable[str] = (), *, policy: str = "", now: datetime
) -> tuple[GatedName, ...]:
    """Return what an operation on a repository asks: gates of its name and of paths that serve it, then a policy by name.

    Raises PolicyUnknown.
    """
    found = [one for one in gates_of(policies.records.gates, repository, *paths) if point in one.rule.at]
    if policy:
        policies.get(policy)
        rule = PolicyGateRule(pattern="**", policy=policy, at=(point,), set_by=point, set_at=now)
        found.append(GatedName(rule, (repository,)))
    return tuple(found)


def judge_content(
    asked: PolicyGates,
    gates: Iterable[GatedName],
    source: EvidenceSource,
    version: Snapshot,
    items: Mapping[str, Digest],
    now: datetime,
) -> JudgedContent:
    """Return what gates say of items: digests by tag, or by their own text where they come without one."""
    refused: dict[str, str] = {}
    notes: list[str] = []
    found: dict[Digest, tuple[GateFinding, ...]] = {}
    answers: dict[tuple[Digest, str], GateAnswer] = {}
    for name, digest in items.items():
        tag = name if is_tag(name) else ""
        answer = answers.get((digest, tag)) or asked.judge(gates, source, version, digest, now, tag=tag)
        answers[digest, tag] = answer
        if answer.findings:
            found[digest] = answer.findings
        for finding in answer.findings:
            if finding.mode == "refuse":
                refused.setdefault(name, f"policy {finding.policy}: {finding.reason}"[:_REASON])
            else:
                notes.append(f"{name} would be refused by the policy {finding.policy}: {finding.reason}"[:_REASON])
    return JudgedContent(refused, tuple(notes), found)


def judged_items(version: Snapshot, children: Children, known: Snapshot | None = None) -> dict[str, Digest]:
    """Return what is judged of a version: tags, and manifests without one that no index lists; not what `known` has. Pure."""
    here = known or Snapshot(version.repository, 0)
    listed = {part for parent in version.manifests for part in _parts(version, parent, children)}
    tagged = set(version.tags.values())
    items = {tag: digest for tag, digest in sorted(version.tags.items()) if here.tags.get(tag) != digest}
    alone = [one for one in version.manifests if one not in listed and one not in tagged and one not in here.manifests]
    return items | {str(one): one for one in sorted(alone)}


def leave_out(version: Snapshot, refused: Iterable[str], children: Children) -> Snapshot:
    """Return a version without refused tags and digests, and without what only they lead to. Pure.

    That is their parts, and what refers to any of these. A digest stays under another tag that is allowed.
    """
    gone = set(refused)
    if not gone:
        return version
    tags = {tag: digest for tag, digest in version.tags.items() if tag not in gone}
    bad = {version.tags.get(name) or Digest(name) for name in gone}
    suspect = _reached(version, bad, version.tags, gone, children)
    companions = {tag for digest in suspect for tag in CompanionFilter().tags_of(digest)}
    roots = {digest for tag, digest in tags.items() if tag not in companions}
    roots |= {digest for digest in version.manifests if digest not in suspect and digest not in gone}
    kept = _reached(version, roots, tags, gone, children)
    tags = {tag: digest for tag, digest in tags.items() if digest in kept}
    return replace(
        version, tags=tags, manifests={one: entry for one, entry in version.manifests.items() if one in kept}
    )


def _reached(
    version: Snapshot, roots: Iterable[Digest], tags: Mapping[str, Digest], gone: set[str], children: Children
) -> set[Digest]:
    """Return what roots are made of, and what belongs to it: referrers and companions that are not refused."""
    seen: set[Digest] = set()
    waiting = [one for one in roots if one in version.manifests]
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        waiting += _parts(version, digest, children)
        waiting += [one for one in version.referrers.get(digest, ()) if one not in gone]
        waiting += [tags[tag] for tag in CompanionFilter().tags_of(digest) if tag in tags]
    return seen


def _parts(version: Snapshot, digest: Digest, children: Children) -> list[Digest]:
    """Return the manifests that an index lists; what another manifest calls a layer is none, whatever its digest."""
    if version.manifests[digest].media_type not in mediatypes.INDEXES:
        return []
    return [part for part in children.get(digest, ()) if part in version.manifests]


def record_findings(
    events: Events,
    point: GatePoint,
    name: str,
    findings: Mapping[Digest, tuple[GateFinding, ...]],
    *,
    actor: str,
    now: datetime,
) -> None:
    """Write audit events of what gates have found in a repository, once an hour for a digest."""
    if not findings:
        return
    recent = events.latest(limit=1000, name=name, since=now - ONCE_IN)
    told = {one.detail.get("digest") for one in recent if one.action in ACTIONS and one.detail.get("at") == point}
    new = [
        finding_event(finding, point, name, digest, requests=1, actor=actor, now=now)
        for digest, some in findings.items()
        if str(digest) not in told
        for finding in some
    ]
    if new:
        events.record(new[:_TOLD_AT_MOST])
