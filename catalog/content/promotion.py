"""Promotion: content of one repository for another, once every gate has let it through. Nothing is copied.

A gate looks at the whole plan and says of each tag whether it may pass, and why. Gates are asked in their order; the first that
refuses anything ends it, and nothing changes then.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from catalog.catalog import Catalog
from catalog.content.curation import Curation, curate
from catalog.distributions.records import has_labels
from catalog.filters.companions import CompanionFilter
from catalog.filters.filter import Filter
from catalog.filters.platforms import PlatformFilter
from catalog.filters.selector import Selector
from catalog.versions.changes import RemoveTag, SetTag, TagsStay
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import PromotionRefused, TagImmutable

if TYPE_CHECKING:
    from catalog.signing.verification import Checked

_MESSAGE = 4000
"""Characters of the version's message at most; the result of the flow run has everything."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tag that would be set, or without one a manifest that would come; `previous` is what the tag points to now."""

    tag: str
    digest: Digest
    previous: Digest | None = None

    @property
    def name(self) -> str:
        """Return how people call it."""
        return self.tag or str(self.digest)


@dataclass(frozen=True, slots=True)
class PromotionPlan:
    """What a promotion would change in its target, whose latest version is `base`."""

    source: Snapshot
    base: Snapshot
    candidates: tuple[Candidate, ...]
    removed: Mapping[str, Digest] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Return whether nothing would be set, come or go."""
        return not (self.candidates or self.removed)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says of one tag, or of a manifest that comes without one."""

    gate: str
    name: str
    allowed: bool
    reason: str

    def to_json(self) -> dict[str, object]:
        """The same for programs."""
        return {"gate": self.gate, "tag": self.name, "allowed": self.allowed, "reason": self.reason}


Gate = Callable[[PromotionPlan], Sequence[Verdict]]


def select_promoted(
    catalog: Catalog,
    source: str,
    version: int | None,
    tags: Iterable[str],
    *,
    now: datetime,
    wanted: Filter | None = None,
    platforms: PlatformFilter | None = None,
) -> tuple[Snapshot, Curation]:
    """Return a version of the source, the latest for None, and what is chosen of it: tags by name, else what a filter selects.

    Raises what `curate` raises.
    """
    snapshot = catalog.snapshots.get(source, version)
    selectors = [Selector(source, tag) for tag in tags] or [Selector(source)]
    chosen = curate(
        catalog, selectors, now=now, wanted=wanted, platforms=platforms, versions={source: snapshot.version}
    )
    return snapshot, chosen


def plan_promotion(
    source: Snapshot, base: Snapshot, chosen: Curation, digests: Iterable[Digest] = (), *, additive: bool
) -> PromotionPlan:
    """Compare what is chosen with the target; `digests` are those that were chosen without a tag.

    Companions (signatures, SBOMs) come with what they are about, and no gate is asked about their tags.
    """
    companions = {tag for digest in chosen.manifests for tag in CompanionFilter().tags_of(digest)}
    candidates = [
        Candidate(tag, digest, base.tags.get(tag))
        for tag, digest in sorted(chosen.tags.items())
        if base.tags.get(tag) != digest and tag not in companions
    ]
    candidates += [
        Candidate("", digest) for digest in digests if digest in chosen.manifests and digest not in base.manifests
    ]
    gone = {} if additive else {tag: digest for tag, digest in base.tags.items() if tag not in chosen.tags}
    return PromotionPlan(source, base, tuple(candidates), gone)


def ask_gates(gates: Iterable[Gate], plan: PromotionPlan) -> tuple[Verdict, ...]:
    """All verdicts, in order; raise PromotionRefused after the first gate that refuses something.

    About a plan that changes nothing no gate is asked.
    """
    found: list[Verdict] = []
    for gate in () if plan.is_empty else gates:
        said = list(gate(plan))
        found += said
        refused = [verdict for verdict in said if not verdict.allowed]
        if refused:
            told = "; ".join(f"{one.name}: {one.reason}" for one in refused[:5])
            more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
            raise PromotionRefused(
                f"promotion of {plan.source.repository} to {plan.base.repository} is refused by the gate {refused[0].gate}: "
                f"{told}{more}; nothing was changed",
                detail={"gates": [verdict.to_json() for verdict in found]},
            )
    return tuple(found)


def promotion_message(plan: PromotionPlan, verdicts: Sequence[Verdict]) -> str:
    """Return what the new version says of itself: where its content comes from, and every gate's verdict."""
    told = f"promoted from version {plan.source.version} of {plan.source.repository}"
    for number, one in enumerate(verdicts):
        line = f"{told}; {one.name}: {one.gate}: {one.reason}"
        if len(line) > _MESSAGE:
            return f"{told}; and {len(verdicts) - number} more verdicts"
        told = line
    return told


def immutable_gate(patterns: tuple[str, ...]) -> Gate:
    """Lets through what moves or removes no immutable tag of the target."""
    stay = TagsStay(patterns)

    def ask(plan: PromotionPlan) -> list[Verdict]:
        verdicts: list[Verdict] = []
        changes: list[SetTag | RemoveTag] = [*(SetTag(one.tag, one.digest) for one in plan.candidates if one.tag)]
        changes += [RemoveTag(tag) for tag in plan.removed]
        for change in changes:
            try:
                stay.check(plan.base, (change,))
                verdicts.append(Verdict("immutable", change.tag, True, "not immutable"))
            except TagImmutable as error:
                verdicts.append(Verdict("immutable", change.tag, False, error.message))
        return verdicts

    return ask


def signed_gate(catalog: Catalog, check: "Callable[[Catalog, Snapshot, Digest], Checked]", by: str) -> Gate:
    """Lets through what is signed by a key or an identity, as `check` finds in the source."""

    def judge(plan: PromotionPlan, one: Candidate) -> Verdict:
        found = check(catalog, plan.source, one.digest)
        if found.is_signed:
            return Verdict("signed", one.name, True, f"signed by {by}")
        others = found.tagged + found.bundled + found.atomic
        return Verdict(
            "signed", one.name, False, f"not signed by {by}; it has {others} signatures that do not verify so"
        )

    return lambda plan: [judge(plan, one) for one in plan.candidates]


def label_gate(catalog: Catalog, wanted: Sequence[str]) -> Gate:
    """Lets through images whose configs have the labels, `KEY` or `KEY=VALUE`; of an index every image that is here."""

    def ask(plan: PromotionPlan) -> list[Verdict]:
        images = {one.digest: _images_of(catalog, plan.source, one.digest) for one in plan.candidates}
        labels = catalog.history.labels(plan.source.repository, [image for some in images.values() for image in some])
        return [_label_verdict(one, images[one.digest], labels, wanted) for one in plan.candidates]

    return ask


def _label_verdict(
    one: Candidate, images: Sequence[Digest], labels: Mapping[Digest, Mapping[str, str]], wanted: Sequence[str]
) -> Verdict:
    told = ", ".join(wanted)
    if not images:
        return Verdict("labels", one.name, False, "it is not an image and has no labels")
    for image in images:
        missing = [text for text in wanted if not has_labels(labels.get(image, {}), [text])]
        if missing:
            return Verdict("labels", one.name, False, f"{image} lacks {', '.join(missing)}")
    return Verdict("labels", one.name, True, f"has {told}")


def _images_of(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> list[Digest]:
    """The manifest itself, or the images of an index that are here; what describes them (platform unknown) is none."""
    entry = snapshot.manifests[digest]
    if entry.media_type not in mediatypes.INDEXES:
        return [digest]
    manifest = catalog.manifests.read(digest, entry.media_type)
    return [
        child.digest
        for child in manifest.manifests
        if child.digest in snapshot.manifests and (child.platform is None or child.platform.os != "unknown")
    ]


def age_gate(catalog: Catalog, least: timedelta, now: datetime) -> Gate:
    """Lets through what the source has had for so long."""

    def ask(plan: PromotionPlan) -> list[Verdict]:
        seen = catalog.history.first_seen(plan.source.repository, [one.digest for one in plan.candidates])
        return [judge(plan, one, now - seen.get(one.digest, now)) for one in plan.candidates]

    def judge(plan: PromotionPlan, one: Candidate, age: timedelta) -> Verdict:
        told = f"in {plan.source.repository} for {age / timedelta(days=1):.1f} days"
        enough = age >= least
        wanted = "" if enough else f"; expected at least {least / timedelta(days=1):g}"
        return Verdict("age", one.name, enough, f"{told}{wanted}")

    return ask
