"""Sessions that any replica takes up: each request has its bytes in a file of its own until they are a piece."""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from types import TracebackType
from typing import Self

from catalog.blobs.index import BlobIndex
from catalog.blobs.local_store import BlobStore
from catalog.blobs.shared_uploads.pieces import JoinRefused, Pieces, StoredPiece
from catalog.blobs.shared_uploads.resumable_hash import STATE_FORMAT, ResumableHasher, resume_hash
from catalog.blobs.shared_uploads.session_rows import Piece, SessionRow, SessionRows
from catalog.blobs.uploads import STREAMED, Clock, IncomingBlob, Uploads, UploadSession, check_session_id
from catalog.disk_reserve import Room
from oci.digest import Digest
from oci.errors import Conflict, DigestInvalid, LocalError, RangeInvalid, SizeInvalid, StorageCorrupt, UploadUnknown

log = logging.getLogger("catalog")
_TOUCHES = 8
"""How often within the expiry time a long request says that its session is in use."""

_BATCH = 500


class SharedUploads(Uploads):
    """Uploads whose sessions of clients are rows in PostgreSQL and pieces in the store; see `Uploads`.

    `begin` stays with this process: one call brings the whole blob.
    """

    def __init__(
        self,
        store: BlobStore,
        blob_index: BlobIndex,
        pieces: Pieces,
        *,
        clock: Clock,
        expiry: float,
        room: Room | None = None,
    ) -> None:
        super().__init__(store, blob_index, clock=clock, expiry=expiry, room=room)
        self.pieces, self.rows = pieces, SessionRows(blob_index.database)
        self._held: set[str] = set()

    def open_session(self, repository: str) -> str:
        self.check_room(0)
        session_id = uuid.uuid4().hex
        self.rows.add(session_id, repository, self._clock())
        return session_id

    def resume(self, repository: str, session_id: str) -> "SharedSession":
        """Take up a session; raise UploadUnknown, or Conflict while another request to this process holds it.

        Of requests to several processes the first to end wins, and `keep` refuses the others.
        """
        check_session_id(session_id)
        with self._guard:
            if session_id in self._held:
                raise Conflict(f"upload session {session_id} is in use by another request")
            self._held.add(session_id)
        try:
            row = self.rows.find(session_id, repository)
            if row is None:
                raise UploadUnknown(f"no upload session {session_id} in {repository}; start a new one")
        except BaseException:
            self.release(session_id)
            raise
        return SharedSession(self, row)

    def release(self, session_id: str) -> None:
        """Let other requests to this process take up a session."""
        with self._guard:
            self._held.discard(session_id)

    def now(self) -> float:
        """Return the Unix time."""
        return self._clock()

    @property
    def touch_interval(self) -> float:
        """Return the seconds after which a request says again that its session is in use."""
        return self._expiry / _TOUCHES

    def count(self, repository: str) -> int:
        return self.rows.count(repository)

    def bytes_open(self, is_counted: Callable[[str], bool]) -> int:
        """Bytes of the sessions of all replicas, and of what comes in here at this moment."""
        kept = sum(size for repository, size in self.rows.sizes() if is_counted(repository))
        return super().bytes_open(is_counted) + kept

    def drop(self, names: list[str]) -> None:
        """Remove pieces of a session that has ended; those that cannot be removed are left to `sweep`."""
        try:
            self.pieces.remove(names)
        except (LocalError, OSError) as error:
            log.warning("pieces of an upload are left for later pieces=%d error=%s", len(names), error)

    def sweep(self, now: float) -> int:
        """Drop sessions of all replicas that nobody has touched for the expiry time, and pieces that killed ones have left.

        A piece may be stored before its row is written, so that a young one is never removed.
        """
        before = now - self._expiry
        dropped, names = self.rows.expire(before)
        self.pieces.remove(names)
        old = (one for one in self.pieces.stored() if one.modified_at < before)
        while batch := list(islice(old, _BATCH)):
            self.pieces.remove(self._orphans(batch))
        return dropped + super().sweep(now)

    def _orphans(self, batch: list[StoredPiece]) -> Iterator[str]:
        """Yield the names of pieces whose sessions have ended."""
        open_now = self.rows.known(_session_of(one.name) for one in batch)
        yield from (one.name for one in batch if _session_of(one.name) not in open_now)


def _piece_name(session_id: str, first: int) -> str:
    """Return a name that no other request uses, not even one for the same bytes."""
    return f"{session_id}-{first}-{uuid.uuid4().hex[:12]}"


def _session_of(name: str) -> str:
    return name.partition("-")[0]


class SharedSession:
    """An `OpenUpload` of one request: what it writes is a file of this process until `keep` or `finish`."""

    def __init__(self, uploads: SharedUploads, row: SessionRow) -> None:
        self.id, self.repository, self.offset = row.id, row.repository, row.size
        self._uploads, self._row = uploads, row
        self._hasher = resume_hash(row.hash_state, row.hash_format) if row.size else ResumableHasher()
        self._part: UploadSession | None = None
        self._touched, self._ended, self._is_held = row.touched_at, False, True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append data; raise StorageFull, and leave the session as long as it was, when there is no room."""
        part = self._open_part()
        part.write(data)
        self.offset = self._row.size + part.offset
        now = self._uploads.now()
        if now - self._touched > self._uploads.touch_interval:
            self._touched = now
            self._uploads.rows.touch(self.id, now)

    def _open_part(self) -> UploadSession:
        if self._part is None:
            self._part = self._uploads.stage(self.repository, self._hasher)
        return self._part

    def keep(self) -> None:
        """Store what was written as a piece, and record it; raise RangeInvalid when another request has appended meanwhile."""
        try:
            self._store_part()
        finally:
            self.close()

    def _store_part(self) -> None:
        """Make what this request wrote a piece of the session."""
        part = self._part
        if part is None or not part.offset:
            return
        piece = Piece(_piece_name(self.id, self._row.size), self._row.size, part.offset)
        self._uploads.pieces.store(piece.name, part.path)
        state, state_format = (self._hasher.state, STATE_FORMAT) if self._hasher else (None, "")
        if not self._uploads.rows.advance(self.id, piece, state, state_format, self._uploads.now()):
            self._uploads.drop([piece.name])
            self._give_way()
        self._row = replace(self._row, size=self.offset)
        self._drop_part()

    def _give_way(self) -> None:
        """Raise what says that another request has appended, or has ended the session."""
        self._drop_part()
        found = self._uploads.rows.find(self.id, self.repository)
        if found is None:
            raise UploadUnknown(f"upload session {self.id} has ended")
        began, self.offset = self._row.size, found.size
        raise RangeInvalid(
            f"the chunk was received from byte {began} on, but another request has brought the session to {found.size}",
            detail={"offset": found.size},
        )

    def finish(self, digest: Digest, size: int | None = None) -> int:
        """Verify, make durable, record and link the blob; return its size in bytes.

        Raises SizeInvalid or DigestInvalid, and the session with its bytes is gone then.
        """
        try:
            if self._row.size:
                self._finish_pieces(digest, size)
            else:
                self._open_part().finish(digest, size)
        except (SizeInvalid, DigestInvalid):
            self.cancel()
            raise
        self.cancel()
        return self.offset

    def _finish_pieces(self, digest: Digest, size: int | None) -> None:
        """Join what several requests have brought.

        1. Where the hash is known, refuse what it contradicts before anything is sent.
        2. Store what this request brought, so that all is in pieces.
        3. Where the hash is known, have the store join them.
        4. Else, or where the store cannot, read them into a file and bring in that.
        """
        is_known = self._hasher is not None and digest.algorithm == STREAMED
        if is_known:
            self._verify(digest, size)
        self._store_part()
        pieces = self._uploads.rows.pieces(self.id, self.offset)
        if sum(piece.size for piece in pieces) != self.offset:
            raise UploadUnknown(f"upload session {self.id} has ended")
        joined = self._uploads.pieces.join(pieces) if is_known else None
        try:
            if joined is None or not self._ingest(joined, digest):
                self._read_and_finish(pieces, digest, size)
        except StorageCorrupt:
            if self._uploads.rows.find(self.id, self.repository) is None:  # another request has ended it
                raise UploadUnknown(f"upload session {self.id} has ended") from None
            raise

    def _ingest(self, joined: IncomingBlob, digest: Digest) -> bool:
        """Bring in what the store joins; False where it does not, after all."""
        try:
            self._uploads.ingest(self.repository, joined, digest, self.offset)
        except JoinRefused as error:
            log.warning("pieces of an upload are read, since the store does not join them error=%s", error)
            return False
        return True

    def _verify(self, digest: Digest, size: int | None) -> None:
        assert self._hasher is not None
        found = Digest.from_hasher(STREAMED, self._hasher)
        if size not in (None, self.offset):
            raise SizeInvalid(f"expected {size} bytes of {digest}, got {self.offset}")
        if found != digest:
            raise DigestInvalid(f"expected {digest}, but the {self.offset} bytes received are {found}")

    def _read_and_finish(self, pieces: list[Piece], digest: Digest, size: int | None) -> None:
        with self._uploads.begin(self.repository, self.offset) as whole:
            try:
                for piece in pieces:
                    for chunk in self._uploads.pieces.read(piece):
                        whole.write(chunk)
                whole.finish(digest, size)
            finally:
                whole.cancel()

    def cancel(self) -> None:
        """Drop the session and its bytes; a second call does nothing."""
        if not self._ended:
            self._ended = True
            self._uploads.drop(self._uploads.rows.remove(self.id))
        self.close()

    def close(self) -> None:
        """Let go of the session; what was not kept is lost."""
        self._drop_part()
        if self._is_held:  # else another request may hold it by now
            self._is_held = False
            self._uploads.release(self.id)

    def _drop_part(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            with suppress(OSError):
                part.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
