"""What scrubs note of blobs: when one was last read, and which are set aside."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from catalog.blobs.index import BlobIndex
from catalog.blobs.row_writes import write_loss
from oci.digest import Digest

_PASS = "scrub.began_at"  # noqa: S105  # a pass over the store, no password


@dataclass(frozen=True, slots=True)
class DueBlob:
    """A blob that is due to be read, as the index knows it: bytes, and the Unix time at which it was taken in."""

    digest: Digest
    size: int
    ingested_at: float


@dataclass(frozen=True, slots=True)
class Fault:
    """A blob that was not what it should be, and why; its bytes are set aside, and it counts as not held."""

    digest: Digest
    size: int
    reason: str


class ScrubRecords:
    """Reads and writes these notes; usable from any thread, and by several scrubs at a time."""

    def __init__(self, blob_index: BlobIndex) -> None:
        self._database, self._blob_index = blob_index.database, blob_index

    def begin(self, now: float) -> float:
        """Return the Unix time at which the pass began that is under way; a new one begins now when there is none."""
        self._database.change("INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (_PASS, now))
        began = self._blob_index.mark(_PASS)
        return now if began is None else began

    def end(self) -> None:
        """End the pass."""
        self._blob_index.set_mark(_PASS, None)

    def due(self, before: float) -> tuple[int, int]:
        """Return how many blobs were neither read nor taken in since a Unix time, and their bytes."""
        ((blobs, size),) = self._database.rows(
            "SELECT count(*), coalesce(sum(size), 0) FROM blobs WHERE coalesce(read_at, ingested_at) < ?", (before,)
        )
        return int(blobs), int(size)

    def next_due(self, after: str, before: float, limit: int) -> list[DueBlob]:
        """Return the next of them in order of digest."""
        rows = self._database.rows(
            "SELECT digest, size, ingested_at FROM blobs WHERE digest > ? AND coalesce(read_at, ingested_at) < ? "
            "ORDER BY digest LIMIT ?",
            (after, before, limit),
        )
        return [DueBlob(Digest(digest), size, ingested_at) for digest, size, ingested_at in rows]

    def note_read(self, blobs: Iterable[DueBlob], now: float) -> None:
        """Note that these were right."""
        with self._database.transaction() as transaction:
            transaction.executemany(
                "UPDATE blobs SET read_at = ? WHERE digest = ?",
                [(now, digest) for digest in sorted(b.digest for b in blobs)],
            )

    def set_aside(
        self, blob: DueBlob, reason: str, now: float, *, is_mended: Callable[[], bool], move: Callable[[], None]
    ) -> Fault | None:
        """Count a blob as lost, and `move` its bytes away while nobody can bring or remove it.

        None, and nothing done, when it was freed, taken in anew or mended since it was read. The bytes go before the record is
        written for good. A process killed between the two leaves a blob whose file is missing: the next scrub finds it, and any
        upload mends it.
        """
        with self._database.transaction([blob.digest]) as transaction:
            found = transaction.execute(
                "SELECT size, ingested_at FROM blobs WHERE digest = ?", (blob.digest,)
            ).fetchone()
            if found != (blob.size, blob.ingested_at) or is_mended():
                return None
            write_loss(transaction, blob.digest, blob.size, reason, now)
            move()
        return Fault(blob.digest, blob.size, reason)

    def quarantined(self) -> list[Fault]:
        """Return what was set aside and has not come in again."""
        rows = self._database.rows(
            "SELECT digest, size, reason FROM quarantine WHERE healed_at IS NULL ORDER BY digest"
        )
        return [Fault(Digest(digest), size, reason) for digest, size, reason in rows]

    def remove_healed(self, digest: Digest, before: float, remove: Callable[[], None]) -> bool:
        """Remove bytes that lie aside by `remove`; False when their blob has not come in again before a Unix time."""
        with self._database.transaction([digest]) as transaction:
            wanted = transaction.execute(
                "SELECT 1 FROM quarantine WHERE digest = ? AND (healed_at IS NULL OR healed_at >= ?)", (digest, before)
            ).fetchone()
            if wanted is not None:
                return False
            remove()
        return True
