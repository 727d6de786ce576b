"""Files of the blob store that nobody knows: left by processes that were killed, or put there by others."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from catalog.blobs.index import BlobIndex, BlobRecord
from catalog.blobs.local_store import BlobStore, Stored
from catalog.blobs.scrub_records import ScrubRecords

_BATCH, _LISTED = 500, 1_000


@dataclass(slots=True)
class UnknownFiles:
    """The number of unknown files and their bytes, how many of them were removed, and the names of the first; and what lies in
    quarantine. Sizes in bytes."""

    files: int = 0
    bytes: int = 0
    removed: int = 0
    removed_bytes: int = 0
    quarantined: int = 0
    quarantined_bytes: int = 0
    names: list[str] = field(default_factory=list)


def look_for_unknown(store: BlobStore, blob_index: BlobIndex, *, before: float, remove: bool) -> UnknownFiles:
    """Go through the store. With `remove`, blobs' files go that were last changed before a Unix time, and what is in quarantine
    and was brought anew by then; a file whose name is not that of a blob may be somebody else's, and stays."""
    report = UnknownFiles()
    for batch in _batches(store.stored()):
        known = blob_index.known({one.digest for one in batch if one.digest is not None})
        for one in batch:
            if one.aside:
                report.quarantined += 1
                report.quarantined_bytes += one.size
            elif one.digest not in known:
                report.files += 1
                report.bytes += one.size
                report.names += [one.name][: _LISTED - len(report.names)]
            if remove and one.modified_at < before and _remove(blob_index, store, one, before):
                report.removed += 1
                report.removed_bytes += one.size
    return report


def _batches(found: Iterator[Stored]) -> Iterator[list[Stored]]:
    while batch := list(islice(found, _BATCH)):
        yield batch


def _remove(blob_index: BlobIndex, store: BlobStore, one: Stored, before: float) -> bool:
    """Remove it, unless it has been taken in by now; False when it is to stay."""
    if one.digest is None:
        return False
    if one.aside:
        return ScrubRecords(blob_index).remove_healed(one.digest, before, lambda: store.remove_stored(one.name))
    return blob_index.remove_unknown(BlobRecord(one.digest, one.size), lambda: store.remove_stored(one.name))
