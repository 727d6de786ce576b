"""One sync under way: what was asked, its two ends, and what it has found out so far."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from catalog.catalog import Catalog
from catalog.changes import CommitResult
from catalog.companions import CompanionFilter
from catalog.filters import PlatformFilter, Selection
from catalog.snapshot import Snapshot
from catalog.sources import Origin, Policy, parts_now
from flows.metering import Meter
from flows.progress import Progress
from flows.sync_plan import COPIED, PlanItem, StagedManifest, SyncPlan
from flows.sync_request import SyncRequest
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, RemoteError, RemoteNotFound
from oci.manifest import Manifest
from oci.platform import Platform
from oci.reference import is_tag
from oci.target import Source


class Upstream(Source, Protocol):
    """A Source that can say what refers to a manifest."""

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Manifests whose subject is `digest`, none where the registry keeps no such list."""
        ...


class TagsFailed(RemoteError):
    """Tags could not be copied, and the sync was asked to change nothing then; `failed` gives each one's reason."""

    def __init__(self, repository: str, failed: Mapping[str, str], *, registry: str) -> None:
        shown = [f"  {tag}: {reason}" for tag, reason in list(failed.items())[:20]]
        if len(failed) > len(shown):
            shown.append(f"  … and {len(failed) - len(shown)} more")
        what = "1 tag" if len(failed) == 1 else f"{len(failed)} tags"
        super().__init__(
            "\n".join([f"{what} could not be copied, so {repository} was left as it is:", *shown]),
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
        self.request, self.catalog, self.source = request, catalog, source
        self.policy = request.policy or _default_policy(catalog, request)
        self.operation_id, self.flow_run_id, self.clock = operation_id, flow_run_id, clock
        self.progress, self.serve = progress or Progress(), serve
        self.concurrency = catalog.settings.copy_concurrency
        self.platforms = PlatformFilter(tuple(Platform.parse(text) for text in request.platforms))
        self.companions = CompanionFilter(request.companions)
        self.incomplete: frozenset[Digest] = frozenset()
        self.selection = Selection()
        self._children: tuple[int, Mapping[Digest, tuple[Digest, ...]]] | None = None
        self.listed: frozenset[str] | None = None
        """Every tag of upstream, as far as it was asked for them."""
        self.may_lack: set[str] = set()
        """Tags and digests that were named without knowing whether upstream has them."""
        self.found: dict[str, Descriptor] = {}
        self.failed: dict[str, str] = {}
        self.moved: dict[str, Meter] = {}
        self.staged: dict[Digest, StagedManifest] = {}
        self.referrers: dict[Digest, Sequence[Descriptor]] = {}
        self.notes: list[str] = []

    def parts(self, manifest: Manifest) -> Iterable[tuple[str, Descriptor]]:
        """What is copied with a manifest; raise InvalidInput when an index has no platform that is wanted."""
        parts = self.platforms.children_of_some(manifest)
        return parts if self.policy == "immediate" else parts_now(parts, manifest)

    @property
    def origin(self) -> Origin | None:
        """Where layers can be fetched that are not copied."""
        if self.policy == "immediate":
            return None
        return Origin(str(self.request.upstream.repository_only()), self.policy)

    @property
    def target(self) -> str:
        """The name of the repository here."""
        return self.request.target

    def children_of(self, base: Snapshot) -> Mapping[Digest, tuple[Digest, ...]]:
        """What the base's manifests are made of; one query for each base. It may take a while, so call it on a thread."""
        if self._children is None or self._children[0] != base.version:
            self._children = (base.version, self.catalog.children(self.target) if base.manifests else {})
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
        wanting: dict[Digest, list[str]] = {}
        for item in plan.of(*COPIED):
            if tags is not None and item.tag not in tags:
                continue
            wanting.setdefault(self.found[item.tag].digest, []).append(item.tag)
        roots = [Root(self.found[tags[0]], tuple(tags)) for tags in wanting.values()]
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
        if gone:
            self.selection = self.selection.with_dropped(dict.fromkeys(gone, "not upstream"))
        self.failed.update({tag: error.message for tag, error in outcome.failed.items() if tag not in gone})
        self.staged.update(outcome.staged)
        self.charge(outcome)

    def charge(self, outcome: Outcome) -> None:
        """Count what a batch has moved, even one that is tried again."""
        for tag, charged in outcome.moved.items():
            total = self.moved.setdefault(tag, Meter())
            total.items += charged.items
            total.bytes += charged.bytes

    def check_failures(self) -> None:
        """Raise TagsFailed where a failure is not to be skipped, or nothing but failures is left."""
        wanted = [tag for tag in self.selection.kept if tag not in self.failed]
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


def _default_policy(catalog: Catalog, request: SyncRequest) -> Policy:
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
    return request.reference.digest is not None or not is_tag(tag)
