"""The catalogue as the faces see it: content, snapshots, commits and questions behind one object."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from catalog.audit import Events
from catalog.blobs.content_store import ContentStore
from catalog.blobs.index import Held, Holdings
from catalog.blobs.opening import open_store
from catalog.blobs.uploads import Clock, Uploads
from catalog.commits.blob_rights import Rights
from catalog.commits.commit import Committer, Planner, find_operation
from catalog.commits.commit_log import CommitLog
from catalog.commits.offers import Offers
from catalog.commits.rights_upgrade import grant_rights_of_older_releases
from catalog.disk_reserve import open_room
from catalog.distributions.records import Distribution, Distributions
from catalog.filters.facts import Facts
from catalog.lake.connection import Lake
from catalog.maintenance import impact
from catalog.maintenance.cache_usage import CacheContents
from catalog.maintenance.compaction import Step, Upkeep
from catalog.maintenance.garbage_collection import Sweeper, SweepReport
from catalog.maintenance.gc_explain import BlobFate
from catalog.maintenance.orphan_files import UnknownFiles, look_for_unknown
from catalog.maintenance.reclaim import Reclaimer
from catalog.maintenance.scrub import Scrubber
from catalog.maintenance.usage import Usage, read_usage
from catalog.private_home import keep_private, make_home
from catalog.pull_counts import DAYS_APART, PullCount, PullCounts, Pulled, Pulls
from catalog.query.images import ImageFilter, ImageRow, find_images
from catalog.query.question import Format, Limits, Question
from catalog.query.run import Asking, ask_table, limits_of
from catalog.quotas.quotas import Quotas
from catalog.remotes.records import Remotes
from catalog.retention.plan import Times, read_times
from catalog.retention.rules import RetentionRules
from catalog.settings import Settings
from catalog.versions.blob_sources import Sources
from catalog.versions.changes import Commit, CommitResult, Lookups
from catalog.versions.deletion import Squasher
from catalog.versions.history import History
from catalog.versions.manifest_cache import RawCache
from catalog.versions.manifest_facts import read_facts
from catalog.versions.pins import Pins
from catalog.versions.rows import ChangeRow, RepositoryRow, VersionRow
from catalog.versions.snapshot import Delta, Snapshot, delta_between
from catalog.versions.snapshot_cache import Snapshots
from catalog.versions.time_travel import PastPaths
from catalog.versions.timeline import Timeline
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, ManifestUnknown, StorageCorrupt
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
        room = open_room(settings)
        room.throw_off()
        store = open_store(settings)
        self._lake = Lake(
            settings.catalog_file,
            memory=settings.duckdb_memory,
            threads=settings.duckdb_threads,
            lock_timeout=settings.lock_timeout,
            room=room,
        )
        file = settings.catalog_file.parent / "holdings.sqlite"
        self._holdings = Holdings(file, busy_timeout=settings.lock_timeout, room=room)
        room.take_on()
        self.scrubber = Scrubber(self._holdings, store)
        self._store = store
        self._sweeper = Sweeper(self._lake, self._holdings, store)
        self._reclaimer = Reclaimer(self._lake, self._holdings, store)
        self.uploads = Uploads(store, self._holdings, clock=clock, expiry=settings.upload_expiry, room=room)
        self.content = ContentStore(store, self._holdings, self.uploads, clock=clock)
        self.distributions = Distributions(self._lake)
        self.remotes = Remotes(self._lake)
        self.quotas = Quotas(self._lake)
        self.retention_rules = RetentionRules(self._lake)
        self.sources = Sources(self._lake)
        self.events = Events(self._lake)
        self._pulls = Pulls(self._lake)
        self.cache_contents = CacheContents(self._lake, self._holdings, self.distributions, self._pulls)
        self._snapshots = Snapshots(
            self._lake, self.distributions, self.remotes, self.quotas, limit=settings.snapshot_entries
        )
        self.past = PastPaths(settings.history_path, self.distributions, self._snapshots)
        self._history = History(self._lake)
        self.pins = Pins(self._lake)
        self.squasher = Squasher(self._lake, self._snapshots, self.distributions, self.pins, self._holdings)
        self._raw = RawCache(settings.manifest_cache)
        grant_rights_of_older_releases(self._lake, self._holdings, self.distributions)
        self.rights = Rights(self.content, self._holdings, self._snapshots, self.distributions)
        self.offers = Offers(self._lake, self.content)
        lookups = Lookups(self._manifest_of, self.rights.usable_size, self.offers.blobs, self._history.children)
        self._committer = Committer(
            self._lake, self._snapshots, self.distributions, self.content, lookups, self.quotas, self.rights
        )

    # --- serving ---

    def is_current(self) -> bool:
        """Whether memory knows all that any process has committed; False says: call `refresh`."""
        return self._snapshots.is_current()

    def refresh(self) -> None:
        """Learn what other processes have committed."""
        self._snapshots.refresh()

    @property
    def state(self) -> tuple[int, int]:
        """Another value as soon as memory knows of other versions or distributions; no I/O. Pulls and events are no change."""
        return self._snapshots.changes, self.distributions.changes

    def has_repository(self, name: str) -> bool:
        """Whether there is a repository of that name, as far as memory knows."""
        return self._snapshots.has(name)

    def cached_served(self, path: str) -> Snapshot | None:
        """What a distribution's path serves, if memory has it and it still is so; None says: call `find_served`."""
        return self._snapshots.cached_at(path) or self.past.cached(path)

    def find_served(self, path: str) -> Snapshot | None:
        """What a distribution's path serves; None when nothing is served there."""
        return self._snapshots.find_at(path) or self.past.find(path)

    def content_marks(self, served: Iterable[Distribution]) -> dict[str, str]:
        """By path a text that is another one as soon as the path serves another version; one query."""
        self.refresh()
        versions = {one.path: (one.repository, self._snapshots.number_at(one)) for one in served}
        made = self._history.makers(list(dict.fromkeys(versions.values())))
        texts = {path: f"{name} {number} {made.get((name, number))}" for path, (name, number) in versions.items()}
        return {path: hashlib.sha256(text.encode()).hexdigest()[:32] for path, text in texts.items()}

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
            if (
                Digest.of(raw, digest.algorithm) != digest
            ):  # memory would go on serving what a scrub takes from the store
                raise StorageCorrupt(f"manifest {digest} is damaged in the store; `entrepot scrub` deals with it")
            self._raw.keep(digest, raw)
        return raw

    def read_manifest(self, digest: Digest, media_type: str) -> Manifest:
        """A manifest that is held, parsed."""
        return parse_manifest(self.raw_manifest(digest), media_type, algorithm=digest.algorithm)

    def _manifest_of(self, descriptor: Descriptor) -> Manifest:
        return self.read_manifest(descriptor.digest, descriptor.media_type)

    def read_part(self, version: Snapshot, digest: Digest) -> bytes:
        """A small blob that a version's repository may use, whole; raise BlobUnknown for any other, whoever holds it."""
        if self.rights.usable_size(version, digest) is None:
            raise BlobUnknown(f"blob {digest} of {version.repository} is not here")
        return self.content.read(digest)

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

    def commit_latest(self, repository: str, planner: Planner) -> CommitResult:
        """Let `planner` make the commit for the latest version under the write lock: for one to whom others were too quick.

        All writers wait meanwhile: it has to be quick, and must neither write nor ask anybody. Raises what it and `commit` raise.
        """
        return self._committer.commit_latest(repository, planner)

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
        """The version that an operation has made in a repository, or that has its changes now."""
        number = find_operation(self._lake, name, operation_id)
        return self.version(name, number) if number else None

    def timeline(self, name: str) -> Timeline:
        """All versions that a repository has had, and when; raise NameUnknown."""
        return self._snapshots.timeline(name)

    def changes(self, name: str, number: int) -> list[ChangeRow]:
        """What one version changed, removals first."""
        return self._history.changes(name, number)

    def diff(self, old: Snapshot, new: Snapshot) -> Delta:
        """What leads from one version to another; a moved tag stands in both tags_removed and tags_added."""
        return delta_between(old, new)

    def children(self, name: str, digests: Iterable[Digest] | None = None) -> dict[Digest, tuple[Digest, ...]]:
        """Children (manifests, configs, layers) of a repository's manifests, of all of them by default; one query."""
        return self._history.children(name, digests)

    def facts(self, snapshot: Snapshot, digests: Collection[Digest]) -> dict[Digest, Facts]:
        """What conditions of filters look at in manifests of a version; those that it does not hold are left out. One query."""
        return read_facts(self._lake, snapshot, digests)

    def labels(self, name: str, digests: Iterable[Digest]) -> dict[Digest, dict[str, str]]:
        """The labels in the configs of a repository's images; one query."""
        return self._history.labels(name, digests)

    def first_seen(self, name: str, digests: Iterable[Digest]) -> dict[Digest, datetime]:
        """When a repository first got each of these manifests, as far as its versions tell; one query."""
        return self._history.first_seen(name, digests)

    def images(self, wanted: ImageFilter) -> list[ImageRow]:
        """Images that repositories have taken in; whether a version still has one, its snapshot tells. One query."""
        return find_images(self._lake, wanted)

    def pulls(self, name: str) -> PullCounts:
        """How often a repository's manifests were pulled and when last, by (tag or '', digest); one query."""
        return self._pulls.read_one(name)

    def pulls_of(self, names: Iterable[str]) -> Mapping[str, PullCounts]:
        """The same of several repositories, without those that nobody has pulled from; one query."""
        return self._pulls.read(names)

    def record_pulls(self, counts: Mapping[Pulled, PullCount]) -> None:
        """Add pulls that were counted; durable on return, and known to this process, so that no request looks for news."""
        self._pulls.record(counts)
        self.refresh()

    def compact_pulls(self) -> int:
        """Add up rows of pulls that tell of the same thing; return how many rows went. For upkeep, once a day or so."""
        return self._pulls.compact((datetime.fromtimestamp(self._clock(), UTC) - timedelta(days=DAYS_APART)).date())

    def query(self, sql: str, *, max_rows: int | None = None, timeout: float | None = None) -> "pa.Table":
        """Answer a question in SQL, reading only; raise QueryInvalid."""
        limits = limits_of(self.settings).changed(rows=max_rows, timeout=timeout)
        return ask_table(self.settings, Question(sql), limits)

    def asking(self, question: Question, limits: Limits, form: Format) -> Asking:
        """A question on its way, to be answered into a file."""
        return Asking(self.settings, question, limits, form)

    def sweep(self, *, grace: float, dry_run: bool = False, is_late: Callable[[], bool] = lambda: False) -> SweepReport:
        """Free blobs that no version holds and no lease younger than `grace` seconds protects; end early once `is_late`."""
        return self._sweeper.sweep(grace=grace, now=self._clock(), dry_run=dry_run, is_late=is_late)

    def fate(self, digest: Digest, *, grace: float) -> BlobFate:
        """Why a blob stays or goes."""
        aside = {fault.digest: fault.reason for fault in self.scrubber.quarantined()}
        return BlobFate(
            digest,
            self._holdings.size(digest),
            self.hits([digest]),
            self._holdings.links(digest),
            bool(self.sources.of_all(digest)),
            aside.get(digest, ""),
            grace,
            self._clock(),
        )

    def reclaimable(self, repositories: Collection[str], *, keep: float) -> list[Held]:
        """Blobs of these repositories alone that can be fetched again and were neither fetched nor pulled for `keep` seconds."""
        return self._reclaimer.find(repositories, since=self._clock() - keep)

    def reclaim(self, blobs: Sequence[Held], repositories: Collection[str], *, keep: float) -> list[Held]:
        """Forget the bytes of such blobs; return those of which that was done."""
        return self._reclaimer.reclaim(blobs, repositories, since=self._clock() - keep)

    def lost(self) -> list[Digest]:
        """What scrubs have set aside, and nobody has brought anew."""
        return [fault.digest for fault in self.scrubber.quarantined()]

    def absent(self) -> list[Digest]:
        """What versions hold, the store does not, and nothing says where it could be fetched; passes over all changes."""
        return impact.find_absent(self._lake, self._holdings)

    def uses(self, digest: Digest) -> list[impact.Use]:
        """The repositories that use a digest, and the upstreams that these were synced from."""
        return impact.find_uses(self._lake, digest)

    def hits(self, digests: Collection[Digest]) -> list[impact.Hit]:
        """The versions, tags and paths that need blobs or manifests."""
        return impact.find_hits(self._lake, self._history, self.distributions, digests)

    def unknown_files(self, *, grace: float, remove: bool) -> UnknownFiles:
        """What lies in the store and is not held; with `remove`, that which is older than `grace` seconds goes."""
        return look_for_unknown(self._store, self._holdings, before=self._clock() - grace, remove=remove)

    def maintain(self, *, keep_snapshots: float, grace: float) -> Iterator[Step]:
        """Do the lake's upkeep step by step, and tell of each; versions stay as they are. Durations in seconds."""
        upkeep = Upkeep(self._lake, self._holdings, self.uploads, self.compact_pulls)
        return upkeep.steps(keep_snapshots=keep_snapshots, grace=grace, now=self._clock())

    def commit_log(self) -> CommitLog:
        """The record of commits, for one who follows it; two queries."""
        return CommitLog(self._lake)

    def times(self, name: str) -> Times:
        """When a repository's tags were set, and its manifests came or lost a tag; one query."""
        return read_times(self._lake, name)

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


def open_catalog(settings: Settings) -> Catalog:
    """Open this installation's catalogue, making or migrating it where needed, in a home that is the owner's alone.

    Raises CatalogUnusable.
    """
    make_home(settings)
    catalog = Catalog(settings)
    keep_private(settings)
    return catalog
