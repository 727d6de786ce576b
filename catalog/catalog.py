"""The catalogue as the faces see it: content, snapshots, commits and questions behind one object."""

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from catalog import query
from catalog.blobs import BlobStore, LocalBlobStore
from catalog.changes import Commit, CommitResult, Lookups
from catalog.commit import Committer, find_operation
from catalog.content import ContentStore
from catalog.distributions import Distributions
from catalog.events import Events
from catalog.history import History
from catalog.holdings import Held, Holdings
from catalog.images import ImageFilter, ImageRow, find_images
from catalog.lake import Lake
from catalog.reclaim import Reclaimer
from catalog.remotes import Remotes
from catalog.rows import ChangeRow, RepositoryRow, VersionRow
from catalog.settings import Settings
from catalog.snapshot import Delta, Snapshot, delta_between
from catalog.snapshots import Snapshots
from catalog.sources import Sources
from catalog.sweep import Sweeper, SweepReport
from catalog.uploads import Clock, Uploads
from catalog.usage import Usage, read_usage
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, ManifestUnknown
from oci.manifest import Manifest, parse_manifest

if TYPE_CHECKING:
    import pyarrow as pa


class Catalog:
    """One process's hold on the catalogue; a context manager, usable from any thread.

    Methods may block on disk or on the write lock; only `is_current` and `cached_…` belong on an event loop.
    """

    def __init__(self, settings: Settings, *, clock: Clock = time.time) -> None:
        self.settings = settings
        self._clock = clock
        store = open_store(settings)
        self._lake = Lake(
            settings.catalog_file,
            memory=settings.duckdb_memory,
            threads=settings.duckdb_threads,
            lock_timeout=settings.lock_timeout,
        )
        self._holdings = Holdings(settings.catalog_file.parent / "holdings.sqlite", busy_timeout=settings.lock_timeout)
        self._sweeper = Sweeper(self._lake, self._holdings, store)
        self._reclaimer = Reclaimer(self._lake, self._holdings, store)
        self.uploads = Uploads(store, self._holdings, clock=clock, expiry=settings.upload_expiry)
        self.content = ContentStore(store, self._holdings, self.uploads, clock=clock)
        self.distributions = Distributions(self._lake)
        self.remotes = Remotes(self._lake)
        self.sources = Sources(self._lake)
        self.events = Events(self._lake)
        self._snapshots = Snapshots(self._lake, self.distributions, self.remotes, limit=settings.snapshot_cache)
        self._history = History(self._lake)
        self._raw = _RawCache(settings.manifest_cache)
        lookups = Lookups(self._manifest_of, self._size_of, self._is_held, self._history.children)
        self._committer = Committer(self._lake, self._snapshots, self.distributions, self.content, lookups)

    # --- serving ---

    def is_current(self) -> bool:
        """Whether memory knows all that any process has committed; False says: call `refresh`."""
        return self._snapshots.is_current()

    def refresh(self) -> None:
        """Learn what other processes have committed."""
        self._snapshots.refresh()

    def has_repository(self, name: str) -> bool:
        """Whether there is a repository of that name, as far as memory knows."""
        return self._snapshots.has(name)

    def cached_served(self, path: str) -> Snapshot | None:
        """What a distribution's path serves, if memory has it and it still is so; None says: call `find_served`."""
        return self._snapshots.cached_at(path)

    def find_served(self, path: str) -> Snapshot | None:
        """What a distribution's path serves; None when nothing is served there."""
        return self._snapshots.find_at(path)

    def cached_manifest(self, digest: Digest) -> bytes | None:
        """A manifest's bytes if memory has them."""
        return self._raw.get(digest)

    def find_snapshot(self, name: str) -> Snapshot | None:
        """The latest version; None when there is no such repository."""
        return self._snapshots.find(name)

    def snapshot(self, name: str, version: int | None = None) -> Snapshot:
        """A version, by default the latest; raise NameUnknown or VersionUnknown."""
        return self._snapshots.get(name, version)

    def raw_manifest(self, digest: Digest) -> bytes:
        """A manifest's exact bytes; raise ManifestUnknown, or StorageCorrupt when they are recorded but gone."""
        raw = self._raw.get(digest)
        if raw is None:
            try:
                raw = self.content.read(digest)
            except BlobUnknown:
                raise ManifestUnknown(f"manifest {digest} is not held here") from None
            self._raw.keep(digest, raw)
        return raw

    def read_manifest(self, digest: Digest, media_type: str) -> Manifest:
        """A manifest that is held, parsed."""
        return parse_manifest(self.raw_manifest(digest), media_type, algorithm=digest.algorithm)

    def _manifest_of(self, descriptor: Descriptor) -> Manifest:
        return self.read_manifest(descriptor.digest, descriptor.media_type)

    def _size_of(self, digest: Digest) -> int | None:
        size = self.content.size(digest)
        return self.sources.size(digest) if size is None else size

    def _is_held(self, digest: Digest) -> bool:
        return self.content.size(digest) is not None

    def repository_names(self) -> Sequence[str]:
        """All repositories' names in ASCII order, from memory."""
        return self._snapshots.names()

    # --- writing ---

    def commit(self, commit: Commit) -> CommitResult:
        """Make one version of what the commit asks, or none when it is so already; durable on return.

        Raises Conflict when a requirement fails, ManifestUnknown or ManifestBlobUnknown when parts are missing,
        ManifestInvalid when a manifest misstates a size, CatalogUnusable when the lock cannot be had.
        """
        return self._committer.commit(commit)

    def preview(self, commit: Commit) -> CommitResult:
        """What a commit would make now, writing nothing; raises what `commit` raises."""
        return self._committer.preview(commit)

    # --- asking ---

    def repositories(self) -> list[RepositoryRow]:
        """Every repository as of its latest version, by name."""
        return self._history.repositories()

    def repository(self, name: str) -> RepositoryRow:
        """One repository as of its latest version; raise NameUnknown."""
        return self._history.repository(name)

    def versions(self, name: str) -> list[VersionRow]:
        """A repository's versions, newest first; raise NameUnknown."""
        return self._history.versions(name)

    def version(self, name: str, number: int) -> VersionRow:
        """One version; raise NameUnknown or VersionUnknown."""
        return self._history.version(name, number)

    def find_operation(self, name: str, operation_id: str) -> VersionRow | None:
        """The version that an operation has made in a repository."""
        number = find_operation(self._lake, name, operation_id)
        return None if number is None else self.version(name, number)

    def changes(self, name: str, number: int) -> list[ChangeRow]:
        """What one version changed, removals first."""
        return self._history.changes(name, number)

    def diff(self, old: Snapshot, new: Snapshot) -> Delta:
        """What leads from one version to another; a moved tag stands in both tags_removed and tags_added."""
        return delta_between(old, new)

    def children(self, name: str, digests: Iterable[Digest] | None = None) -> dict[Digest, tuple[Digest, ...]]:
        """Children (manifests, configs, layers) of a repository's manifests, of all of them by default; one query."""
        return self._history.children(name, digests)

    def images(self, wanted: ImageFilter) -> list[ImageRow]:
        """Images that repositories have taken in; whether a version still has one, its snapshot tells. One query."""
        return find_images(self._lake, wanted)

    def query(self, sql: str, *, max_rows: int = 100_000, timeout: float = 60.0) -> "pa.Table":
        """Answer a question in SQL, reading only; raise QueryInvalid."""
        return query.run_query(
            self._lake.file,
            self._lake.data,
            sql,
            memory=self.settings.duckdb_memory,
            threads=self.settings.duckdb_threads,
            max_rows=max_rows,
            timeout=timeout,
        )

    def sweep(self, *, grace: float, dry_run: bool = False) -> SweepReport:
        """Free blobs that no version holds and no lease younger than `grace` seconds protects."""
        return self._sweeper.sweep(grace=grace, now=self._clock(), dry_run=dry_run)

    def reclaimable(self, repositories: Collection[str], *, keep: float) -> list[Held]:
        """Blobs of these repositories alone that can be fetched again and were fetched more than `keep` seconds ago."""
        return self._reclaimer.find(repositories, since=self._clock() - keep)

    def reclaim(self, blobs: Sequence[Held], repositories: Collection[str], *, keep: float) -> list[Held]:
        """Forget the bytes of such blobs; return those of which that was done."""
        return self._reclaimer.reclaim(blobs, repositories, since=self._clock() - keep)

    def usage(self) -> Usage:
        """What is held, what repositories share, and what that saves."""
        return read_usage(self._lake, self._holdings)

    def check(self) -> None:
        """Read the catalogue and touch the store; raise what keeps this installation from serving."""
        self._lake.read("SELECT 1 FROM schema_versions LIMIT 1")
        self.content.check()

    def close(self) -> None:
        """Close files and connections."""
        self._lake.close()
        self._holdings.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(settings: Settings) -> BlobStore:
    """Open the blob store that the settings name; raise SettingsInvalid or StorageUnavailable."""
    if settings.storage_folder is not None:
        return LocalBlobStore(settings.storage_folder)
    from catalog.blobs_s3 import S3BlobStore, S3Place  # boto3 takes a while to import

    bucket, prefix = settings.storage_bucket
    place = S3Place(bucket, prefix, settings.s3_endpoint)
    return S3BlobStore(place, settings.root / "staging", redirect=settings.storage_redirect)


def open_catalog(settings: Settings) -> Catalog:
    """Open this installation's catalogue, making or migrating it where needed; raise CatalogUnusable."""
    return Catalog(settings)


class _RawCache:
    """Manifests' bytes, the least recently used dropped beyond `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, digest: Digest) -> bytes | None:
        with self._guard:
            raw = self._kept.get(digest)
            if raw is not None:
                self._kept.move_to_end(digest)
            return raw

    def keep(self, digest: Digest, raw: bytes) -> None:
        with self._guard:
            if digest in self._kept or len(raw) > self._limit:
                return
            self._kept[digest] = raw
            self._held += len(raw)
            while self._held > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._held -= len(dropped)
