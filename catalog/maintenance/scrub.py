"""Scrubbing: reads what is held, byte by byte, and sets aside what is not what it should be.

A pass is over when every blob has been read since it began, or taken in (that verifies it too). Each blob's record says when it
was last read, so that a pass that was killed goes on where it was.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from catalog.blobs.index import BlobIndex
from catalog.blobs.local_store import BlobReader, BlobStore
from catalog.blobs.scrub_records import DueBlob, Fault, ScrubRecords
from oci.digest import Digest, new_hasher
from oci.errors import StorageCorrupt

_CHUNK = 1024 * 1024


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
class Damage:
    """What is wrong with a blob; `has_other_bytes`: its file is whole, and its digest another one.

    `identity`: that of the bytes (`BlobStore.identity`) before they were read, None where it is not known.
    """

    reason: str
    has_other_bytes: bool = False
    identity: str | None = None


class Scrubber:
    """Reads blobs and sets aside the damaged ones; usable from any thread, beside pushes, pulls and sweeps."""

    def __init__(self, blob_index: BlobIndex, store: BlobStore) -> None:
        self.records, self._store = ScrubRecords(blob_index), store

    def read(self, blob: DueBlob, pace: Pace) -> Damage | None:
        """Read a blob whole; return what is wrong with it, None for nothing. What reads wrong is read once more first: memory
        and network have faults too. Raises StorageUnavailable."""
        damage, identity = None, None
        for is_again in (False, True):
            if is_again:
                identity = self._store.identity(blob.digest)
            try:
                with self._store.open(blob.digest, blob.size) as reader:
                    damage = _read_whole(reader, blob.digest, pace)
            except StorageCorrupt as error:
                damage = Damage(error.message)
            if damage is None:
                return None
        return damage and replace(damage, identity=identity)

    def set_aside(self, blob: DueBlob, damage: Damage, now: float) -> Fault | None:
        """Move damaged bytes away, and count the blob as not held, so that whoever brings it anew heals it.

        None, and nothing done, when it was freed or mended since it was read.
        """
        return self.records.set_aside(
            blob,
            damage.reason,
            now,
            is_mended=lambda: self._was_mended(blob, damage),
            move=lambda: self._store.set_aside(blob.digest),
        )

    def _was_mended(self, blob: DueBlob, damage: Damage) -> bool:
        """Return whether an upload has brought the bytes since they were read."""
        if damage.has_other_bytes and damage.identity in (None, self._store.identity(blob.digest)):
            return False
        try:
            self._store.check_blob(blob.digest, blob.size)
        except StorageCorrupt:
            return False
        return True

    def lost(self) -> list[Digest]:
        """Return what scrubs have set aside, and nobody has brought anew."""
        return [fault.digest for fault in self.records.quarantined()]


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
