"""Garbage collection: frees blobs that no version holds and no lease protects, while pushes and syncs go on.

1. Without a lock: go through what is held, and note what no version of any repository has a change for and no lease younger
   than the grace period protects. 2. Under the catalogue's write lock, so that no commit comes between: look again, and
   remove record and bytes of each in one transaction of the holdings, which every upload, mount and lease takes too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from catalog.blobs import BlobStore
from catalog.holdings import Held, Holdings
from catalog.lake import Lake
from oci.digest import Digest

_BATCH = 20_000
_LOCKED_BATCH = 200
"""Blobs removed in one hold of the write lock, so that pushes wait for moments only."""


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep found; with a dry run, what it would free. Sizes in bytes."""

    held: int
    held_bytes: int
    freed: tuple[Held, ...]
    leased: int

    @property
    def freed_bytes(self) -> int:
        """Bytes freed."""
        return sum(blob.size for blob in self.freed)


class Sweeper:
    """Frees what nothing holds; safe beside any number of other processes."""

    def __init__(self, lake: Lake, holdings: Holdings, store: BlobStore) -> None:
        self._lake, self._holdings, self._store = lake, holdings, store

    def sweep(self, *, grace: float, now: float, dry_run: bool = False) -> SweepReport:
        """Free blobs; leases younger than `grace` seconds at Unix time `now` protect theirs."""
        held = held_bytes = leased = 0
        freed: list[Held] = []
        for batch in self._held_batches():
            held += len(batch)
            held_bytes += sum(blob.size for blob in batch)
            loose = self._without_version(batch)
            free = self._holdings.without_lease(loose, since=now - grace)
            leased += len(loose) - len(free)
            freed += free if dry_run else self._free(free, since=now - grace)
        if not dry_run:
            self._holdings.drop_links(before=now - grace)
        return SweepReport(held, held_bytes, tuple(freed), leased)

    def _held_batches(self) -> Iterator[list[Held]]:
        last = ""
        while batch := self._holdings.held_after(last, limit=_BATCH):
            yield batch
            last = batch[-1].digest

    def _without_version(self, batch: Sequence[Held]) -> list[Held]:
        """Those that no change of any version names."""
        cursor = self._lake.cursor()
        cursor.register("swept", pa.table({"digest": [str(blob.digest) for blob in batch]}))
        try:
            rows = self._lake.read("SELECT digest FROM swept ANTI JOIN changes USING (digest)")
        finally:
            cursor.unregister("swept")
        loose = {row[0] for row in rows}
        return [blob for blob in batch if blob.digest in loose]

    def _free(self, blobs: Sequence[Held], *, since: float) -> list[Held]:
        freed: list[Held] = []
        for start in range(0, len(blobs), _LOCKED_BATCH):
            some = blobs[start : start + _LOCKED_BATCH]
            with self._lake.write():
                loose = self._without_version(some)
                freed += [blob for blob in loose if self._holdings.remove(blob.digest, self._delete, since=since)]
        return freed

    def _delete(self, digest: Digest) -> None:
        self._store.delete(digest)
