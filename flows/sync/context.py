"""The context of one sync: what was asked, both ends of the copy, and where remarks and progress go."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from catalog.blobs.origins import Origin, Policy, parts_now
from catalog.catalog import Catalog
from catalog.filters.companions import CompanionFilter
from catalog.filters.filter import Filter
from catalog.filters.platforms import PlatformFilter
from catalog.remotes.options import HEADS_PER_TRANSFER
from catalog.versions.version_origins import VersionOrigin
from flows.runs.progress import Progress
from flows.runs.run_log import RunLog
from flows.sync.cached_reader import CachedReader
from flows.sync.request import SyncRequest
from flows.sync.sources import MultipleSources
from oci import mediatypes
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import RemoteLeftOut
from oci.manifest import Manifest

Part = tuple[str, Descriptor]
"""A part of a manifest with its role."""


Serve = Literal["public", "private", "nobody"]
"""Who may pull a new repository from its own path."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a version is recorded whose content comes from no registry: the operation, who did it, the message, the origins."""

    operation: str
    actor: str
    message: str
    origins: tuple[VersionOrigin, ...]


@dataclass(frozen=True, slots=True)
class SyncContext:
    """Everything that the stages of a sync share and none of them changes. Use it within one event loop.

    `now` is the moment from which ages are counted. `reader` reads the sources, through a cache where content decides. With
    `may_misstate`, indexes are accepted that misstate the size of a child. `log` counts by tag. With `is_first_try`, no earlier
    try of this operation is known to have made a version, up to number `checked_until`; the commit looks at later ones.
    `children_known` are the parts of manifests of versions that were read before. `provenance` is for content of no registry.
    """

    request: SyncRequest
    catalog: Catalog
    sources: MultipleSources
    reader: MultipleSources | CachedReader
    policy: Policy
    platforms: PlatformFilter
    companions: CompanionFilter
    may_misstate: bool
    operation_id: str
    flow_run_id: str
    clock: Callable[[], datetime]
    now: datetime
    progress: Progress
    serve: Serve
    log: RunLog[str] = field(default_factory=RunLog)
    is_first_try: bool = False
    checked_until: int = 0
    children_known: Mapping[int, Mapping[Digest, tuple[Digest, ...]]] = field(default_factory=dict)
    provenance: Provenance | None = None

    @classmethod
    def of(
        cls,
        request: SyncRequest,
        catalog: Catalog,
        sources: MultipleSources,
        *,
        operation_id: str,
        clock: Callable[[], datetime],
        flow_run_id: str = "",
        progress: Progress | None = None,
        serve: Serve = "public",
        is_first_try: bool = False,
        checked_until: int = 0,
        children_known: Mapping[int, Mapping[Digest, tuple[Digest, ...]]] | None = None,
        provenance: Provenance | None = None,
    ) -> "SyncContext":
        """Make the context of a request."""
        reader: MultipleSources | CachedReader = sources
        if request.wanted.asks_content:
            concurrency = catalog.settings.copy_concurrency
            reader = CachedReader(sources, catalog, request.target, stage=not request.dry_run, concurrency=concurrency)
        return cls(
            request=request,
            catalog=catalog,
            sources=sources,
            reader=reader,
            policy=request.policy or _recorded_policy(catalog, request),
            platforms=request.platform_filter,
            companions=CompanionFilter(request.companions),
            may_misstate=catalog.settings.may_misstate(request.target),
            operation_id=operation_id,
            flow_run_id=flow_run_id,
            clock=clock,
            now=clock(),
            progress=progress or Progress(),
            serve=serve,
            is_first_try=is_first_try,
            checked_until=checked_until,
            children_known=children_known or {},
            provenance=provenance,
        )

    @property
    def filter(self) -> Filter:
        """The filter of the request."""
        return self.request.wanted

    @property
    def target(self) -> str:
        """The name of the repository here."""
        return self.request.target

    @property
    def concurrency(self) -> int:
        """The number of requests that run at once."""
        return self.catalog.settings.copy_concurrency

    @property
    def head_concurrency(self) -> int:
        """The number of tags that are asked for at once."""
        return HEADS_PER_TRANSFER * self.concurrency

    @property
    def cache(self) -> CachedReader:
        """The reader of a sync whose filter decides by content."""
        assert isinstance(self.reader, CachedReader)
        return self.reader

    def origin_of(self, request: SyncRequest) -> Origin | None:
        """Return where layers of a request's remote can be fetched that are not copied; None where all are copied."""
        if self.policy == "immediate":
            return None
        return Origin(str(request.upstream.repository_only()), self.policy)

    def parts(self, manifest: Manifest, left_out: Collection[Digest]) -> Iterable[Part]:
        """Return what is copied with a manifest; raise InvalidInput when an index has no platform of the filter."""
        parts = self._parts_of(self.platforms.children_of_some(manifest), left_out)
        return parts if self.policy == "immediate" else parts_now(parts, manifest)

    def children(self, manifest: Manifest, left_out: Collection[Digest]) -> Iterable[Part]:
        """Return the parts of a manifest that the filter selects and upstream has."""
        return self._parts_of(self.platforms.children(manifest), left_out)

    def _parts_of(self, parts: Iterable[Part], left_out: Collection[Digest]) -> list[Part]:
        return [self._with_size(part) for part in parts if part[1].digest not in left_out]

    def _with_size(self, part: Part) -> Part:
        """Return a part, its size unknown where an index may misstate it: the digest is checked, and actual bytes are counted."""
        role, child = part
        if self.may_misstate and child.media_type in mediatypes.MANIFESTS:
            return role, replace(child, size=UNKNOWN_SIZE)
        return part

    def copies_without(self, error: RemoteLeftOut) -> bool:
        """Return whether an index is copied without a child that upstream lacks: not where its platform was asked for."""
        if self.platforms.wanted:
            return False
        self.log.note(f"copied as upstream has it: {error.message}")
        return True


def _recorded_policy(catalog: Catalog, request: SyncRequest) -> Policy:
    """Return the policy that is recorded for the remote."""
    record = catalog.remotes.select(request.reference)
    return (record and record.policy) or "immediate"
