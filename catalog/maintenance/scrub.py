"""Scrubbing: reads what is held, byte by byte, and sets aside what is not what it should be.

A pass is over when every blob has been read since it began, or taken in (that verifies it too). Each blob's record says when it
was last read, so that a pass that was killed goes on where it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from catalog.blobs.index import BlobIndex
from catalog.blobs.local_store import BlobReader, BlobStore
from oci.digest import Digest, new_hasher
from oci.errors import StorageCorrupt

_CHUNK = 1024 * 1024
_PASS = "scrub.began_at"  # noqa: S105  # a pass over the store, no password


class Pace:
    """Keeps reading within `rate` bytes a second (None: as fast as it goes), by sleeping."""

    def __init__(self, rate: int | None, *, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._rate, self._monotonic, self._sleep = rate, monotonic, sleep
        self._began, self._spent = monotonic(), 0
        self.chunk = _CHUNK if rate is None else max(4096, min(_CHUNK, rate // 4))

    def spend(self, count: int) -> None:
        """Count bytes that were read; wait until they fit the rate."""
        self._spent += count
        if self._rate is not None:
            ahead = self._spent / self._rate - (self._monotonic() - self._began)
            if ahead > 0:
                self._sleep(ahead)


@dataclass(frozen=True, slots=True)
class DueBlob:
    """A blob that is due to be read, as the index knows it: bytes, and the Unix time at which it was taken in."""

    digest: Digest
    size: int
    ingested_at: float


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a blob; `has_other_bytes`: its file is whole, and its digest another one."""

    reason: str
    has_other_bytes: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A blob that was not what it should be, and why; its bytes are set aside, and it counts as not held."""

    digest: Digest
    size: int
    reason: str


class Scrubber:
    """Reads blobs and sets aside the damaged ones; usable from any thread, beside pushes, pulls and sweeps."""

    def __init__(self, blob_index: BlobIndex, store: BlobStore) -> None:
        self._blob_index, self._store = blob_index, store

    def begin(self, now: float) -> float:
        """The Unix time at which the pass began that is under way; a new one begins now when there is none."""
        began = self._blob_index.mark(_PASS)
        if began is None:
            began = now
            self._blob_index.set_mark(_PASS, began)
        return began

    def end(self) -> None:
        """The pass is over."""
        self._blob_index.set_mark(_PASS, None)

    def due(self, before: float) -> tuple[int, int]:
        """Return how many blobs were neither read nor taken in since a Unix time, and their bytes."""
        found = self._blob_index.rows(
            "SELECT count(*), coalesce(sum(size), 0) FROM blobs WHERE coalesce(read_at, ingested_at) < ?", (before,)
        )
        return int(found[0][0]), int(found[0][1])

    def next_due(self, after: str, before: float, limit: int) -> list[DueBlob]:
        """The next of them in order of digest."""
        rows = self._blob_index.rows(
            "SELECT digest, size, ingested_at FROM blobs WHERE digest > ? AND coalesce(read_at, ingested_at) < ? "
            "ORDER BY digest LIMIT ?",
            (after, before, limit),
        )
        return [DueBlob(Digest(digest), size, ingested_at) for digest, size, ingested_at in rows]

    def read(self, blob: DueBlob, pace: Pace) -> Damage | None:
        """Read a blob whole; return what is wrong with it, None for nothing. What reads wrong is read once more first: memory
        and network have faults too. Raises StorageUnavailable."""
        damage = None
        for _ in range(2):
            try:
                with self._store.open(blob.digest, blob.size) as reader:
                    damage = _read_whole(reader, blob.digest, pace)
            except StorageCorrupt as error:
                damage = Damage(error.message)
            if damage is None:
                return None
        return damage

    def note_read(self, blobs: Sequence[DueBlob], now: float) -> None:
        """Note that these were right."""
        with self._blob_index.transaction() as connection:
            connection.executemany(
                "UPDATE blobs SET read_at = ? WHERE digest = ?", [(now, one.digest) for one in blobs]
            )

    def set_aside(self, blob: DueBlob, damage: Damage, now: float) -> Fault | None:
        """Move damaged bytes away, and count the blob as not held, so that whoever brings it anew heals it.

        None, and nothing done, when it was freed or mended since it was read. The bytes go before the record is written for good:
        a process killed between the two leaves a blob whose file is missing, which the next scrub finds, and any upload mends.
        """
        with self._blob_index.transaction() as connection:
            found = connection.execute(
                "SELECT size, ingested_at FROM blobs WHERE digest = ?", (blob.digest,)
            ).fetchone()
            if found != (blob.size, blob.ingested_at) or self._was_mended(blob, damage):
                return None
            connection.execute("DELETE FROM blobs WHERE digest = ?", (blob.digest,))
            connection.execute(
                "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, NULL)",
                (blob.digest, blob.size, damage.reason, now),
            )
            self._store.set_aside(blob.digest)
        return Fault(blob.digest, blob.size, damage.reason)

    def _was_mended(self, blob: DueBlob, damage: Damage) -> bool:
        """Return whether a file that was missing or of another size is there now: an upload has brought it."""
        if damage.has_other_bytes:
            return False
        try:
            self._store.check_blob(blob.digest, blob.size)
        except StorageCorrupt:
            return False
        return True

    def lost(self) -> list[Digest]:
        """Return what scrubs have set aside, and nobody has brought anew."""
        return [fault.digest for fault in self.quarantined()]

    def quarantined(self) -> list[Fault]:
        """Return what was set aside and has not come in again."""
        rows = self._blob_index.rows(
            "SELECT digest, size, reason FROM quarantine WHERE healed_at IS NULL ORDER BY digest"
        )
        return [Fault(Digest(digest), size, reason) for digest, size, reason in rows]


def _read_whole(reader: BlobReader, digest: Digest, pace: Pace) -> Damage | None:
    hasher, position = new_hasher(digest.algorithm), 0
    while position < reader.size:
        chunk = reader.read_at(position, pace.chunk)
        if not chunk:
            return Damage(f"its file of {reader.size} bytes ends at byte {position}")
        hasher.update(chunk)
        position += len(chunk)
        pace.spend(len(chunk))
    found = Digest.from_hasher(digest.algorithm, hasher)
    return None if found == digest else Damage(f"its bytes are those of {found}", has_other_bytes=True)
