"""Upload sessions: the one way by which bytes enter the store, verified before they count."""

import fcntl
import hashlib
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from catalog.blobs.index import BlobIndex
from catalog.blobs.ingest_queue import Ingest, IngestQueue
from catalog.blobs.local_store import BlobStore, BlobVanished, storage_errors
from catalog.disk_reserve import Room
from oci.digest import Digest, Hasher, new_hasher
from oci.errors import Conflict, DigestInvalid, SizeInvalid, StorageCorrupt, UploadUnknown

_READ = 1024 * 1024
_REMEMBERED = 4096
_SENT_AGAIN = 5
"""How often a blob is brought into the store again that sweeps take away under our hands."""

_REMOTE_GROUPS = 4
"""Groups of ingests of one process at a time while its store is slow: each holds one of eight connections to the database."""

STREAMED = "sha256"
"""The algorithm hashed while bytes arrive; another is known only at the end, and then the staged file is read once."""

Clock = Callable[[], float]


class OpenUpload(Protocol):
    """One blob on its way in, held by one request of a client; `offset` is the number of bytes that have come."""

    id: str
    repository: str
    offset: int

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append data; raise StorageFull, and leave the session as long as it was, when there is no room."""

    def keep(self) -> None:
        """Keep what was written for the requests to come, and let go of the session.

        Raises RangeInvalid when another request has appended meanwhile: what this one wrote is dropped then.
        """

    def finish(self, digest: Digest, size: int | None = None) -> int:
        """Verify, make durable, record and link the blob; return its size in bytes.

        Raises SizeInvalid or DigestInvalid, and the session with its bytes is gone then.
        """

    def cancel(self) -> None:
        """Drop the session and its bytes; nothing happens after `finish`."""

    def close(self) -> None:
        """Let go of the session without I/O over the network; what was not kept may be lost."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class IncomingBlob(Protocol):
    """The verified bytes of a blob, outside their place."""

    def send(self, digest: Digest) -> None:
        """Do what takes long of `adopt`, before anything is locked for it."""

    def adopt(self, digest: Digest) -> None:
        """Put the bytes into their place; raise BlobVanished when a sweep has undone `send` meanwhile."""

    def drop(self) -> None:
        """Let go of the bytes: they are in their place already."""


@dataclass(frozen=True, slots=True)
class _StagedFile:
    """A blob that is a file in the store's staging folder."""

    store: BlobStore
    path: Path

    def send(self, digest: Digest) -> None:
        self.store.send(self.path, digest)

    def adopt(self, digest: Digest) -> None:
        self.store.adopt(self.path, digest)

    def drop(self) -> None:
        self.path.unlink()


class Uploads:
    """Begins and resumes sessions over one store's staging folder; usable from any thread and by several processes.

    `begin` is for one who writes the whole blob; `open_session` and `resume` are for clients, whose requests share a session.
    """

    def __init__(
        self, store: BlobStore, blob_index: BlobIndex, *, clock: Clock, expiry: float, room: Room | None = None
    ) -> None:
        self._store, self._blob_index, self._clock, self._expiry = store, blob_index, clock, expiry
        self._room = room
        self._states: OrderedDict[str, tuple[int, Hasher]] = OrderedDict()
        self._guard = threading.Lock()
        self._owners: dict[str, str] = {}
        self._queue = IngestQueue(
            lambda ingests: blob_index.ingest(ingests, store.settle, is_remote=store.is_remote),
            groups=_REMOTE_GROUPS if store.is_remote and blob_index.database.is_shared else 1,
        )

    def begin(self, repository: str, size: int = 0) -> "UploadSession":
        """Open a new, empty session for a repository; raise StorageFull where there is no room for `size` bytes."""
        self.check_room(size)
        return self.stage(repository, new_hasher(STREAMED))

    def stage(self, repository: str, hasher: Hasher | None) -> "UploadSession":
        """Open a new, empty session whose bytes a hasher of sha256 gets, if there is one."""
        session_id = uuid.uuid4().hex
        with storage_errors(self._store.staging):
            descriptor = os.open(self._path(repository, session_id), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return UploadSession(self, repository, session_id, descriptor, 0, hasher)

    def open_session(self, repository: str) -> str:
        """Open a session for requests to come, and return its id; raise StorageFull where there is no room."""
        with self.begin(repository) as session:
            return session.id

    def check_room(self, size: int) -> None:
        """Raise StorageFull when so many bytes more would take from what is kept free for the rest."""
        if self._room is not None:
            self._room.check(size)

    def resume(self, repository: str, session_id: str) -> OpenUpload:
        """Open a session left earlier; raise UploadUnknown, or Conflict while another request holds it."""
        path = self._path(repository, session_id)
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            raise UploadUnknown(f"no upload session {session_id} in {repository}; start a new one") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.exists(path):  # noqa: PTH110  # finished by another request between opening and locking
                raise UploadUnknown(f"upload session {session_id} has ended")
        except BlockingIOError:
            os.close(descriptor)
            raise Conflict(f"upload session {session_id} is in use by another request") from None
        except BaseException:
            os.close(descriptor)
            raise
        offset = os.lseek(descriptor, 0, os.SEEK_END)
        with self._guard:
            known, hasher = self._states.pop(session_id, (-1, None))
        if offset == 0:
            hasher = new_hasher(STREAMED)
        return UploadSession(self, repository, session_id, descriptor, offset, hasher if offset in (0, known) else None)

    def count(self, repository: str) -> int:
        """Return how many sessions of a repository are open."""
        owner = f"-{_owner(repository)}"
        return sum(name.endswith(owner) for name in os.listdir(self._store.staging))  # noqa: PTH208  # on each push

    def bytes_open(self, is_counted: Callable[[str], bool]) -> int:
        """Bytes that have come in open sessions of the repositories that count, as far as this process has met them."""
        total = 0
        for path in self._store.staging.iterdir():
            repository = self._owners.get(path.name.rpartition("-")[2])
            if repository is not None and is_counted(repository):
                with suppress(FileNotFoundError):
                    total += path.stat().st_size
        return total

    def sweep(self, now: float) -> int:
        """Drop sessions that nobody has touched for the expiry time; return how many."""
        dropped = 0
        for path in list(self._store.staging.iterdir()):
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                if now - os.fstat(descriptor).st_mtime > self._expiry:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink(missing_ok=True)
                    dropped += 1
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)
        return dropped

    def _path(self, repository: str, session_id: str) -> Path:
        """A session is found only under the repository it was begun for."""
        check_session_id(session_id)
        owner = _owner(repository)
        self._owners[owner] = repository
        return self._store.staging / f"{session_id}-{owner}"

    def _remember(self, session_id: str, offset: int, hasher: Hasher) -> None:
        with self._guard:
            self._states[session_id] = (offset, hasher)
            while len(self._states) > _REMEMBERED:
                self._states.popitem(last=False)

    def _is_there(self, digest: Digest, size: int) -> bool:
        """Return whether bytes of the right number are in their place; a new upload mends a blob whose file was lost."""
        try:
            self._store.check_blob(digest, size)
        except StorageCorrupt:
            return False
        return True

    def ingest(
        self, repository: str, blob: IncomingBlob, digest: Digest, size: int, media_type: str = "", origin: str = ""
    ) -> None:
        """Bring verified bytes to their place, again where others hold them: the time it takes is not to tell of others."""
        is_own = self._blob_index.link(repository, digest) is not None

        def place() -> None:  # without a question to the index, whose transaction is open
            if is_own and self._is_there(digest, size):
                blob.drop()
            else:
                blob.adopt(digest)

        for tries_left in reversed(range(_SENT_AGAIN)):
            if not (is_own and self._is_there(digest, size)):
                blob.send(digest)
            try:
                self._queue.ingest(Ingest(digest, size, place, repository, media_type, self._clock(), origin))
            except BlobVanished:
                if not tries_left:
                    raise
            else:
                return


def check_session_id(session_id: str) -> None:
    """Raise UploadUnknown for a text that no session has as its id."""
    if len(session_id) != 32 or session_id.strip("0123456789abcdef"):
        raise UploadUnknown(f"not an upload session: {session_id[:100]!r}")


def _owner(repository: str) -> str:
    return hashlib.sha256(repository.encode()).hexdigest()[:16]


class UploadSession:
    """One blob on its way in. Leaving the context keeps the bytes, so that the session can be resumed."""

    def __init__(
        self, uploads: Uploads, repository: str, session_id: str, descriptor: int, offset: int, hasher: Hasher | None
    ) -> None:
        self.repository, self.id, self.offset = repository, session_id, offset
        self._uploads, self._descriptor, self._hasher = uploads, descriptor, hasher
        self._path = uploads._path(repository, session_id)  # noqa: SLF001  # the two classes are one mechanism
        self._ended = False

    @property
    def path(self) -> Path:
        """The file that fills."""
        return self._path

    def fileno(self) -> int:
        """The descriptor of that file, as long as the session is open."""
        return self._descriptor

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append data; raise StorageFull, and leave the session as long as it was, when there is no room."""
        view = memoryview(data)
        self._uploads.check_room(len(view))
        with storage_errors(self._path.parent):
            try:
                written = 0
                while written < len(view):
                    written += os.pwrite(self._descriptor, view[written:], self.offset + written)
            except OSError:
                os.ftruncate(self._descriptor, self.offset)
                raise
        self.offset += len(view)
        if self._hasher is not None:
            self._hasher.update(view)  # type: ignore[arg-type]  # hashlib takes any buffer

    def finish(self, digest: Digest, size: int | None = None, *, media_type: str = "", origin: str = "") -> int:
        """Verify, make durable, record and link the blob; return its size in bytes. `origin` is the registry that sent all of it.

        Raises SizeInvalid or DigestInvalid, and the session with its bytes is gone then.
        """
        self.verify(digest, size)
        with storage_errors(self._path.parent):
            os.fsync(self._descriptor)
        blob = _StagedFile(self._uploads._store, self._path)  # noqa: SLF001
        self._uploads.ingest(self.repository, blob, digest, self.offset, media_type, origin)
        self._end()
        return self.offset

    def verify(self, digest: Digest, size: int | None = None) -> None:
        """Raise SizeInvalid or DigestInvalid, and drop the session, when its bytes are not the blob."""
        if size is not None and size != self.offset:
            self.cancel()
            raise SizeInvalid(f"expected {size} bytes of {digest}, got {self.offset}")
        found = self._digest(digest.algorithm)
        if found != digest:
            self.cancel()
            raise DigestInvalid(f"expected {digest}, but the {self.offset} bytes received are {found}")

    def _digest(self, algorithm: str) -> Digest:
        hasher = self._hasher if algorithm == STREAMED else None
        if hasher is None:
            hasher = new_hasher(algorithm)
            position = 0
            while chunk := os.pread(self._descriptor, _READ, position):
                hasher.update(chunk)
                position += len(chunk)
        return Digest.from_hasher(algorithm, hasher)

    def cancel(self) -> None:
        """Drop the session and its bytes; nothing happens after `finish`, so that a `finally` may call it."""
        self._path.unlink(missing_ok=True)
        self._end()

    def _end(self) -> None:
        self._ended = True
        self.close()

    def keep(self) -> None:
        """Let go of the session: its file has what was written."""
        self.close()

    def close(self) -> None:
        """Let go of the session; unless it has ended, it can be resumed."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if not self._ended and self._hasher is not None:
            self._uploads._remember(self.id, self.offset, self._hasher)  # noqa: SLF001
        os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
