"""What garbage collection notes of held blobs: as of when a version held one, and how far the changes have been read."""

from collections.abc import Iterator, Sequence

from catalog.blobs.index import BlobIndex, BlobRecord
from oci.digest import Digest

_POSITION, _REMOVED = "sweep.position", "sweep.removed"
_STEP = 5_000
"""Blobs vouched for in one transaction."""


class SweepRecords:
    """Reads and writes these notes; usable from any thread, and by several sweeps at a time."""

    def __init__(self, blob_index: BlobIndex) -> None:
        self._database = blob_index.database

    def candidates(self, removed: int, limit: int) -> Iterator[list[BlobRecord]]:
        """Blobs that nobody has vouched for since a snapshot of the lake, some at a time, in order of digest."""
        last = ""
        while rows := self._database.rows(
            "SELECT digest, size FROM blobs WHERE digest > ? AND (vouched_at IS NULL OR vouched_at < ?) "
            "ORDER BY digest LIMIT ?",
            (last, removed, limit),
        ):
            yield [BlobRecord(Digest(digest), size) for digest, size in rows]
            last = rows[-1][0]

    def vouch(self, digests: Sequence[Digest], position: int) -> None:
        """Note that versions held blobs as of a snapshot of the lake."""
        named = [(position, digest) for digest in sorted(digests)]
        for start in range(0, len(named), _STEP):
            with self._database.transaction() as transaction:
                transaction.executemany(
                    "UPDATE blobs SET vouched_at = ? WHERE digest = ?", named[start : start + _STEP]
                )

    def forget(self) -> None:
        """Forget all of it: the lake is an older one."""
        with self._database.transaction() as transaction:
            transaction.execute("DELETE FROM marks WHERE name IN (?, ?)", (_POSITION, _REMOVED))
        last = ""
        while rows := self._database.rows(
            "SELECT digest FROM blobs WHERE digest > ? AND vouched_at IS NOT NULL ORDER BY digest LIMIT ?",
            (last, _STEP),
        ):
            with self._database.transaction() as transaction:
                transaction.executemany("UPDATE blobs SET vouched_at = NULL WHERE digest = ?", rows)
            last = rows[-1][0]

    def progress(self) -> tuple[int, int]:
        """Return the snapshot up to which changes were read, and the last of them that removed rows; zeros at first."""
        found: dict[str, float] = dict(
            self._database.rows("SELECT name, value FROM marks WHERE name IN (?, ?)", (_POSITION, _REMOVED))
        )
        return int(found.get(_POSITION, 0)), int(found.get(_REMOVED, 0))

    def set_progress(self, position: int, removed: int) -> None:
        """Note both; what another sweep has read further stays."""
        with self._database.transaction() as transaction:
            transaction.executemany(
                "INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value "
                "WHERE excluded.value > marks.value",
                [(_POSITION, position), (_REMOVED, removed)],
            )
