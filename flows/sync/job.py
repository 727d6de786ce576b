"""One sync under way: what was asked, its two ends, and what it has found out so far."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from catalog.blobs.origins import Origin, Policy, parts_now
from catalog.catalog import Catalog
from catalog.filters.companions import CompanionFilter
from catalog.filters.facts import Facts
from catalog.filters.tags import Selection
from catalog.versions.changes import CommitResult
from catalog.versions.snapshot import Snapshot
from flows.forms.modes import Mode
from flows.runs.failures import named
from flows.runs.metering import Meter, StagedManifest
from flows.runs.plan_items import COPIED, PlanItem
from flows.runs.progress import Progress
from flows.sync.plan import SyncPlan
from flows.sync.request import SyncRequest, asked_for
from flows.sync.upstream_reader import ReadOnce, Upstream
from oci import mediatypes
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import (
    EntrepotError,
    RemoteError,
    RemoteLeftOut,
    RemoteNotFound,
    RemoteRefused,
    RemoteUnauthorized,
)
from oci.manifest import Manifest
from oci.reference import is_tag


class TagsFailed(RemoteError):
    """Tags could not be copied, and the sync was asked to change nothing then; `failed` gives each one's reason."""

    def __init__(self, repository: str, failed: Mapping[str, str], *, registry: str) -> None:
        what = "1 tag" if len(failed) == 1 else f"{len(failed)} tags"
        super().__init__(
            "\n".join([f"{what} could not be copied, so {repository} was left as it is:", *named(failed)]),
            registry=registry,
            detail={"failed": dict(failed)},
        )
        self.failed = dict(failed)


@dataclass(frozen=True, slots=True)
class Root:
    """A manifest to copy with all it is made of, and the tags (or the digest) that want it."""

    descriptor: Descriptor
    tags: tuple[str, ...]


class Batch:
    """What one task works on. No dataclass, so that Prefect does not walk through it looking for other tasks' results."""

    __slots__ = ("base", "roots", "tags")

    def __init__(self, *, tags: Sequence[str] = (), roots: Sequence[Root] = (), base: Snapshot | None = None) -> None:
        self.tags, self.roots, self.base = tags, roots, base


@dataclass(slots=True)
class Outcome:
    """What became of a batch: where its tags point upstream, what was moved for each, which failed and why."""

    found: dict[str, Descriptor] = field(default_factory=dict)
    failed: dict[str, EntrepotError] = field(default_factory=dict)
    moved: dict[str, Meter] = field(default_factory=dict)
    staged: dict[Digest, StagedManifest] = field(default_factory=dict)
    facts: dict[Digest, Facts] = field(default_factory=dict)

    @property
    def retryable(self) -> bool:
        """Whether another try may mend a failure."""
        return any(error.retryable for error in self.failed.values())


class SyncJob:
    """The state of one run. It is filled by the steps and read by the plan; use it within one event loop."""

    def __init__(
        self,
        request: SyncRequest,
        catalog: Catalog,
        source: Upstream,
        *,
        operation_id: str,
        clock: Callable[[], datetime],
        flow_run_id: str = "",
        progress: Progress | None = None,
        serve: Literal["public", "nobody"] = "public",
    ) -> None:
        self.request, self.catalog, self.wanted = request, catalog, request.wanted
        self.policy = request.policy or default_policy(catalog, request)
        self.operation_id, self.flow_run_id, self.clock = operation_id, flow_run_id, clock
        self.progress, self.serve = progress or Progress(), serve
        self.now = clock()
        """The moment from which ages are counted."""
        self.concurrency = catalog.settings.copy_concurrency
        self.upstream = self.source = source
        if self.wanted.asks_content:
            self.source = ReadOnce(
                source, catalog, self.target, stage=not request.dry_run, concurrency=self.concurrency
            )
        self.may_misstate = catalog.settings.may_misstate(self.target)
        """Whether indexes are taken that misstate the size of a child."""
        self.platforms = request.platform_filter
        self.companions = CompanionFilter(request.companions)
        self.incomplete: frozenset[Digest] = frozenset()
        self.selection = Selection()
        self._children: tuple[int, Mapping[Digest, tuple[Digest, ...]]] | None = None
        self.listed: frozenset[str] | None = None
        """Every tag of upstream, as far as it was asked for them."""
        self.candidates: frozenset[str] = frozenset()
        """What tags alone select, before content is looked at."""
        self.may_lack: set[str] = set()
        """Tags and digests that were named without knowing whether upstream has them."""
        self.optional: set[str] = set()
        """Tags that may hold companions and that are not here: one that upstream refuses is as if it had none."""
        self.gone: set[str] = set()
        """Those of them that it does not have."""
        self.found: dict[str, Descriptor] = {}
        self.failed: dict[str, str] = {}
        self.refused: dict[str, RemoteUnauthorized] = {}
        """Those of the failures that are upstream's refusals of the login."""
        self.moved: dict[str, Meter] = {}
        self.staged: dict[Digest, StagedManifest] = {}
        self.referrers: dict[Digest, Sequence[Descriptor]] = {}
        self.left_out: set[Digest] = set()
        """Children of indexes that upstream itself was made without."""
        self.facts: dict[Digest, Facts] = {}
        """What the conditions look at in what tags point to."""
        self.held_facts: dict[Digest, Facts] = {}
        """The same where it is held here, and only upstream can tell whether it is signed by now."""
        self.notes: list[str] = []
        self.is_cut_short = False
        """Whether a remote is down, so that it and those after it were left out: what they have stays as it is."""

    @property
    def mode(self) -> Mode:
        """What becomes of tags that were not found: while a remote is down, nobody knows whether it has them."""
        return "additive" if self.is_cut_short else self.request.mode

    def parts(self, manifest: Manifest) -> Iterable[tuple[str, Descriptor]]:
        """What is copied with a manifest; raise InvalidInput when an index has no platform that is wanted."""
        parts = self._but_left_out(self.platforms.children_of_some(manifest))
        return parts if self.policy == "immediate" else parts_now(parts, manifest)

    def children(self, manifest: Manifest) -> Iterable[tuple[str, Descriptor]]:
        """The parts of a manifest that are wanted and to be had."""
        return self._but_left_out(self.platforms.children(manifest))

    def _but_left_out(self, parts: Iterable[tuple[str, Descriptor]]) -> list[tuple[str, Descriptor]]:
        return [self._as_is(part) for part in parts if part[1].digest not in self.left_out]

    def _as_is(self, part: tuple[str, Descriptor]) -> tuple[str, Descriptor]:
        """A part, with its size unknown where an index may misstate it: the digest is checked, and what it names is counted."""
        role, child = part
        if self.may_misstate and child.media_type in mediatypes.MANIFESTS:
            return role, replace(child, size=UNKNOWN_SIZE)
        return part

    def takes_without(self, child: Descriptor, error: RemoteLeftOut) -> bool:
        """Whether an index is taken without a child that upstream was made without: not where its platform was asked for."""
        if self.platforms.wanted:
            return False
        self.left_out.add(child.digest)
        self.note(f"taken as upstream has it: {error.message}")
        return True

    @property
    def origin(self) -> Origin | None:
        """Where layers can be fetched that are not copied; of several remotes, the first."""
        return origin_of(self.request, self.policy)

    @property
    def target(self) -> str:
        """The name of the repository here."""
        return self.request.target

    def children_of(self, base: Snapshot) -> Mapping[Digest, tuple[Digest, ...]]:
        """What the base's manifests are made of; one query for each base. It may take a while, so call it on a thread."""
        if self._children is None or self._children[0] != base.version:
            self._children = (base.version, self.catalog.history.children(self.target) if base.manifests else {})
        return self._children[1]

    def note(self, text: str) -> None:
        """Keep a remark for the result: nothing failed, but somebody should know."""
        if text not in self.notes:
            self.notes.append(text)

    def tag_batches(self, tags: Sequence[str]) -> Iterator[Batch]:
        """Tags to resolve, `batch_size` at a time."""
        size = self.request.batch_size
        return (Batch(tags=tags[start : start + size]) for start in range(0, len(tags), size))

    def root_batches(self, base: Snapshot, plan: SyncPlan, tags: Collection[str] | None = None) -> list[Batch]:
        """What the plan wants copied, or of that what `tags` point to; each digest once, `batch_size` at a time."""
        wanted = [item.tag for item in plan.of(*COPIED) if tags is None or item.tag in tags]
        return self.batches_of(wanted, base)

    def batches_of(self, tags: Iterable[str], base: Snapshot | None = None) -> list[Batch]:
        """What tags point to, each digest once, `batch_size` at a time."""
        wanting: dict[Digest, list[str]] = {}
        for tag in tags:
            wanting.setdefault(self.found[tag].digest, []).append(tag)
        roots = [Root(self.found[some[0]], tuple(some)) for some in wanting.values()]
        size = self.request.batch_size
        return [Batch(roots=roots[start : start + size], base=base) for start in range(0, len(roots), size)]

    def take(self, outcome: Outcome) -> None:
        """Keep what a batch has found out."""
        self.found.update(outcome.found)
        gone = {
            tag
            for tag, error in outcome.failed.items()
            if tag in self.may_lack and tag not in self.found and isinstance(error, RemoteNotFound)
        }
        for tag, error in outcome.failed.items():
            if tag in self.optional and isinstance(error, RemoteUnauthorized | RemoteRefused):
                self.note(f"{tag} may hold what belongs to an image, but upstream does not give it: {error.message}")
                self.found.pop(tag, None)
                gone.add(tag)
        self.gone |= gone
        if gone:
            self.selection = self.selection.with_dropped(dict.fromkeys(gone, "not upstream"))
        self.failed.update({tag: error.message for tag, error in outcome.failed.items() if tag not in gone})
        self.refused.update({tag: one for tag, one in outcome.failed.items() if isinstance(one, RemoteUnauthorized)})
        self.staged.update(outcome.staged)
        self.facts.update(outcome.facts)
        self.charge(outcome)

    def charge(self, outcome: Outcome) -> None:
        """Count what a batch has moved, even one that is tried again."""
        for tag, charged in outcome.moved.items():
            total = self.moved.setdefault(tag, Meter())
            total.items += charged.items
            total.bytes += charged.bytes

    def check_failures(self) -> None:
        """Raise TagsFailed where a failure is not to be skipped, or nothing else is left; the refusal where all are refusals."""
        wanted = [tag for tag in self.selection.kept if tag not in self.failed]
        if self.failed and not wanted and self.failed.keys() <= self.refused.keys():
            raise self.refused[next(iter(self.failed))]
        if self.failed and (self.request.on_error == "fail" or not wanted):
            raise TagsFailed(self.target, self.failed, registry=self.request.reference.registry)

    def measured(self, plan: SyncPlan) -> tuple[PlanItem, ...]:
        """The plan's items with the bytes that were moved for each."""
        return tuple(
            PlanItem(item.tag, item.action, item.digest, item.previous, self._bytes_of(item), item.reason)
            for item in plan.items
        )

    def _bytes_of(self, item: PlanItem) -> int:
        charged = self.moved.get(item.tag)
        return charged.bytes if charged else 0


def origin_of(request: SyncRequest, policy: Policy) -> Origin | None:
    """Where layers of a request's remote can be fetched that are not copied."""
    return None if policy == "immediate" else Origin(str(request.upstream.repository_only()), policy)


def default_policy(catalog: Catalog, request: SyncRequest) -> Policy:
    """What is recorded for the remote."""
    record = catalog.remotes.select(request.reference)
    return (record and record.policy) or "immediate"


Committed = CommitResult | None
"""None: the repository has moved on meanwhile, so that the plan must be made again."""


def pinned_tags(request: SyncRequest) -> tuple[str, ...]:
    """The one tag or digest that the remote names, where it names one."""
    return (request.pinned,) if request.pinned else ()


def is_pinned(request: SyncRequest, tag: str) -> bool:
    """Whether the remote says which digest the tag points to, so that upstream is not asked."""
    return not is_tag(tag) or asked_for(request, tag) != tag
