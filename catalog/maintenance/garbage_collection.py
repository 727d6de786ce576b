"""Garbage collection: frees blobs that no version holds and no lease protects, while pushes and syncs go on.

1. Without a lock: of the blobs that no earlier sweep has found in a version, note which no change of any version names. What is
   named is vouched for, as of the lake's snapshot: it is looked at again only once rows of changes have gone. 2. Under the
   catalogue's write lock, so that no commit comes between: look at the repositories that were written meanwhile, and forget the
   record of what is still loose in one transaction of the blob index, which every upload, mount and lease takes too. 3. Without
   the write lock: remove the bytes. Killed at any point, the next sweep goes on where this one was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from catalog.blobs.index import BlobIndex, BlobRecord, Link
from catalog.blobs.local_store import BlobStore
from catalog.blobs.sweep_records import SweepRecords
from catalog.lake.connection import Lake
from catalog.lake.reading import listed
from catalog.lake.snapshot_log import read_position, read_since
from catalog.maintenance.leases import settle_leases

_BATCH = 250_000
"""Blobs that one scan of the changes looks for; it bounds the memory."""

_LOCKED_BATCH = 200
"""Blobs given up in one hold of the write lock, so that pushes wait for moments only."""

_LOCKED_REPOSITORIES = 3
"""Repositories that are looked at under the lock; were more written meanwhile, they are looked at before."""

LISTED = 10_000
"""Blobs that a report names; of the others it has the number."""


@dataclass(slots=True)
class SweepReport:
    """What a sweep found; with a dry run, what it would free. Sizes in bytes.

    `freed` and `leases` name the first of what was freed, and of what only a lease keeps. `finished` is False when the time was
    up; the next sweep goes on from there.
    """

    held: int
    held_bytes: int
    freed: list[BlobRecord] = field(default_factory=list)
    freed_blobs: int = 0
    freed_bytes: int = 0
    leased: int = 0
    leases: list[Link] = field(default_factory=list)
    finished: bool = True

    def count(self, freed: Sequence[BlobRecord]) -> None:
        """Add blobs that were freed."""
        self.freed_blobs += len(freed)
        self.freed_bytes += sum(blob.size for blob in freed)
        self.freed += freed[: LISTED - len(self.freed)]


class Sweeper:
    """Frees what nothing holds; safe beside any number of other processes."""

    def __init__(self, lake: Lake, blob_index: BlobIndex, store: BlobStore) -> None:
        self._lake, self._blob_index, self._store = lake, blob_index, store
        self._records = SweepRecords(blob_index)

    def sweep(
        self, *, grace: float, now: float, dry_run: bool = False, is_late: Callable[[], bool] = lambda: False
    ) -> SweepReport:
        """Free blobs; leases younger than `grace` seconds at Unix time `now` protect theirs. Ends early once `is_late`."""
        report = SweepReport(*self._blob_index.totals())
        if not dry_run:
            self._blob_index.remove_left(self._store)
        since = now - grace
        kept = settle_leases(self._lake, self._blob_index, before=since, now=now, renew=not dry_run, drop=False).renewed
        for batch in self._records.candidates(self._last_removal(), _BATCH):
            position = read_position(self._lake)
            loose = [blob for blob in self._without_version(batch) if blob.digest not in kept]
            free = self._blob_index.without_lease(loose, since=since)
            self._note_leased(report, loose, free, since)
            if dry_run:
                report.count(free)
            else:
                self._vouch(batch, loose, position)
                self._free(report, free, position, since, is_late)
            if is_late():
                report.finished = False
                return report
        if not dry_run:  # last, for a commit that comes between may need one
            settle_leases(self._lake, self._blob_index, before=since, now=now)
        return report

    def _note_leased(
        self, report: SweepReport, loose: Sequence[BlobRecord], free: Sequence[BlobRecord], since: float
    ) -> None:
        report.leased += len(loose) - len(free)
        going = {blob.digest for blob in free}
        for blob in loose:
            if len(report.leases) >= LISTED:
                return
            if blob.digest not in going:
                report.leases += self._blob_index.links(blob.digest, since=since)[-1:]

    def _last_removal(self) -> int:
        """The snapshot up to which vouching is void, noted for the next sweep."""
        known, removed = self._records.progress()
        if read_position(self._lake) < known:  # an older catalogue was put back
            self._records.forget()
            known = removed = 0
        since = read_since(self._lake, known)
        removed = since.removed or removed
        self._records.set_progress(since.position, removed)
        return removed

    def _vouch(self, batch: Sequence[BlobRecord], loose: Sequence[BlobRecord], position: int) -> None:
        """Note that versions held the others as of the lake's snapshot."""
        apart = {blob.digest for blob in loose}
        self._records.vouch([blob.digest for blob in batch if blob.digest not in apart], position)

    def _without_version(self, batch: Sequence[BlobRecord], repository: str | None = None) -> list[BlobRecord]:
        """Those that no change of any version, or of any version of one repository, names. The batch is what is hashed, and the
        changes stream by."""
        where, parameters = ("", []) if repository is None else ("repository = ? AND ", [repository])
        rows = self._lake.read(
            f"SELECT DISTINCT digest FROM records WHERE {where}digest IN (SELECT unnest(string_split(?, ' ')))",
            [*parameters, listed(str(blob.digest) for blob in batch)],
        )
        named = {row[0] for row in rows}
        return [blob for blob in batch if blob.digest not in named]

    def _free(
        self, report: SweepReport, blobs: Sequence[BlobRecord], position: int, since: float, is_late: Callable[[], bool]
    ) -> None:
        for start in range(0, len(blobs), _LOCKED_BATCH):
            some: Sequence[BlobRecord] = blobs[start : start + _LOCKED_BATCH]
            written = _LOCKED_REPOSITORIES + 1
            while written > _LOCKED_REPOSITORIES:  # so that few are left to look at under the lock
                some, position, written = self._catch_up(some, position)
            with self._lake.write():
                some, position, _ = self._catch_up(some, position)
                given_up = self._blob_index.give_up(some, since=since)
            self._blob_index.remove_left(self._store)
            report.count(given_up)
            if is_late():
                return

    def _catch_up(self, blobs: Sequence[BlobRecord], position: int) -> tuple[Sequence[BlobRecord], int, int]:
        """Leave out what repositories name that were written after `position`; return as of when that is so, and how many
        they were."""
        since = read_since(self._lake, position)
        if since.repositories is None:
            return self._without_version(blobs), since.position, 0
        for name in sorted(since.repositories):
            blobs = self._without_version(blobs, name)
        return blobs, since.position, len(since.repositories)
