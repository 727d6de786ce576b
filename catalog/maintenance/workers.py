"""Everything that keeps the store and the lake in order, over one catalogue and by one clock."""

from collections.abc import Callable, Collection, Iterator, Sequence

from catalog.blobs.index import BlobIndex, BlobRecord
from catalog.blobs.local_store import BlobStore
from catalog.blobs.uploads import Clock, Uploads
from catalog.distributions.records import Distributions
from catalog.lake.connection import Lake
from catalog.maintenance import impact
from catalog.maintenance.cache_usage import CacheContents
from catalog.maintenance.compaction import Compaction, MaintenanceStep
from catalog.maintenance.garbage_collection import Sweeper, SweepReport
from catalog.maintenance.gc_explain import GcExplanation
from catalog.maintenance.orphan_files import UnknownFiles, look_for_unknown
from catalog.maintenance.reclaim import Reclaimer
from catalog.maintenance.scrub import Scrubber
from catalog.maintenance.usage import Usage, read_usage
from catalog.pull_counts import Pulls
from catalog.versions.blob_sources import Sources
from catalog.versions.history import History
from oci.digest import Digest


class Maintenance:
    """The workers of maintenance; usable from any thread. Durations are in seconds, and ages are counted by the `clock`."""

    def __init__(
        self,
        lake: Lake,
        blob_index: BlobIndex,
        store: BlobStore,
        uploads: Uploads,
        distributions: Distributions,
        pulls: Pulls,
        history: History,
        sources: Sources,
        *,
        clock: Clock,
    ) -> None:
        self._lake, self._blob_index, self._store, self._clock = lake, blob_index, store, clock
        self._distributions, self._history, self._sources = distributions, history, sources
        self._sweeper = Sweeper(lake, blob_index, store)
        self._reclaimer = Reclaimer(lake, blob_index, store)
        self._compaction = Compaction(lake, blob_index, uploads, pulls)
        self.scrubber = Scrubber(blob_index, store)
        self.caches = CacheContents(lake, blob_index, distributions, pulls)

    def sweep(self, *, grace: float, dry_run: bool = False, is_late: Callable[[], bool] = lambda: False) -> SweepReport:
        """Free blobs that no version holds and no lease younger than `grace` protects; end early once `is_late`."""
        return self._sweeper.sweep(grace=grace, now=self._clock(), dry_run=dry_run, is_late=is_late)

    def explain(self, digest: Digest, *, grace: float) -> GcExplanation:
        """Return why garbage collection keeps or frees a blob."""
        quarantined = {fault.digest: fault.reason for fault in self.scrubber.records.quarantined()}
        return GcExplanation(
            digest,
            self._blob_index.size(digest),
            self.impacts([digest]),
            self._blob_index.links(digest),
            bool(self._sources.of_all(digest)),
            tuple(dict.fromkeys(remote for use in self.uses(digest) for remote in use.upstreams)),
            quarantined.get(digest, ""),
            grace,
            self._clock(),
        )

    def reclaimable(self, repositories: Collection[str], *, keep: float) -> list[BlobRecord]:
        """Return blobs of these repositories alone that can be fetched again and were neither fetched nor pulled for `keep`."""
        return self._reclaimer.find(repositories, since=self._clock() - keep)

    def reclaim(self, blobs: Sequence[BlobRecord], repositories: Collection[str], *, keep: float) -> list[BlobRecord]:
        """Forget the bytes of such blobs; return those of which that was done."""
        return self._reclaimer.reclaim(blobs, repositories, since=self._clock() - keep)

    def absent(self) -> list[Digest]:
        """Return what versions hold, the store does not, and nothing says where it could be fetched; read all changes."""
        return impact.find_absent(self._lake, self._blob_index)

    def uses(self, digest: Digest) -> list[impact.ContentUse]:
        """Return the repositories that use a digest, and the upstreams that their versions came from."""
        return impact.find_uses(self._lake, digest)

    def impacts(self, digests: Collection[Digest]) -> list[impact.Impact]:
        """Return the versions, tags and paths that need blobs or manifests."""
        return impact.find_impacts(self._lake, self._history, self._distributions, digests)

    def unknown_files(self, *, grace: float, remove: bool) -> UnknownFiles:
        """Return what lies in the store and is not held; with `remove`, delete what is older than `grace`."""
        return look_for_unknown(self._store, self._blob_index, before=self._clock() - grace, remove=remove)

    def steps(self, *, keep_snapshots: float, grace: float) -> Iterator[MaintenanceStep]:
        """Compact the lake step by step, and yield each step; versions stay as they are."""
        return self._compaction.steps(keep_snapshots=keep_snapshots, grace=grace, now=self._clock())

    def usage(self) -> Usage:
        """Return what is held, what repositories share, and what that saves."""
        return read_usage(self._lake, self._blob_index)
