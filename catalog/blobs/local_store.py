"""Where bytes lie: one file per digest in a local folder, made durable before it counts as held."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from catalog.disk_reserve import FULL, no_room
from oci.digest import Digest
from oci.errors import DigestInvalid, LocalError, StorageCorrupt, StorageUnavailable

QUARANTINE = "quarantine"
PIECES = "uploads"
"""Where the pieces of uploads lie that several machines receive: a folder of the store, or the beginning of keys."""

LAKE = "lake"
"""Where DuckLake keeps its rows, in a bucket."""

NOT_BLOBS = frozenset({PIECES, LAKE})
"""Beginnings of keys that are no blobs'."""


class BlobReader(Protocol):
    """An open blob; a context manager. `size` is in bytes."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only at the end."""
        ...

    def fileno(self) -> int:
        """The descriptor of the local file that holds exactly this blob; -1 when there is none."""
        ...

    def close(self) -> None:
        """Give the blob back; a second call does nothing."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A file or object in the store: its name there, the digest that the name stands for if it does, bytes, and the Unix time of
    its last change. `aside`: it is in quarantine."""

    name: str
    digest: Digest | None
    size: int
    modified_at: float
    aside: bool = False


def name_of_digest(digest: Digest) -> str:
    """Return where a blob lies within a store, with `/` between the parts."""
    encoded = digest.encoded
    return f"{digest.algorithm}/{encoded[:2]}/{encoded}"


def digest_of_name(name: str) -> tuple[Digest | None, bool]:
    """The digest that a name within the store stands for, and whether it is in quarantine."""
    parts = name.split("/")
    aside = parts[0] == QUARANTINE
    algorithm, *rest = parts[1:] if aside else parts
    if len(rest) != 2 or not rest[1].startswith(rest[0]):
        return None, aside
    try:
        return Digest.parse(f"{algorithm}:{rest[1]}"), aside
    except DigestInvalid:
        return None, aside


class BlobStore(Protocol):
    """Keeps bytes by digest. The blob index says what is held, never a file that happens to be there."""

    @property
    def staging(self) -> Path:
        """A local folder to write into before `adopt`."""
        ...

    @property
    def is_remote(self) -> bool:
        """Return whether each call is a request over the network."""
        ...

    def send(self, staged: Path, digest: Digest) -> None:
        """Do what takes long of `adopt`, before anything is locked for it."""
        ...

    def adopt(self, staged: Path, digest: Digest) -> None:
        """Take a verified, synced file out of staging as the blob of that digest; durable after `settle`. Idempotent.

        Raises BlobVanished when a sweep has undone `send` meanwhile."""
        ...

    def settle(self, digests: Iterable[Digest]) -> None:
        """Make durable that blobs are in their places; those of one folder share the cost."""
        ...

    def check_blob(self, digest: Digest, size: int) -> None:
        """Raise StorageCorrupt for a blob recorded with `size` that is missing or of another size."""
        ...

    def identity(self, digest: Digest) -> str:
        """Return what changes when a blob's bytes are brought anew; empty when there are none."""
        ...

    @property
    def redirects(self) -> bool:
        """Return whether `url` may be asked."""
        ...

    def url(self, digest: Digest) -> str:
        """A URL by which anybody gets the blob from the store itself for a while."""
        ...

    def open(self, digest: Digest, size: int) -> BlobReader:
        """Open a blob recorded with `size`; raise StorageCorrupt when it is missing or of another size."""
        ...

    def delete(self, digest: Digest) -> None:
        """Forget the bytes; nothing happens when there are none."""
        ...

    def set_aside(self, digest: Digest) -> None:
        """Move the bytes out of the way into the store's quarantine; nothing happens when there are none."""
        ...

    def stored(self) -> Iterator[Stored]:
        """Everything that lies in the store, whether or not it is held; not what is staged, nor pieces of uploads."""
        ...

    def remove_stored(self, name: str) -> None:
        """Remove what `stored` has named; nothing happens when it is gone."""
        ...

    def check(self) -> None:
        """Raise what keeps the store from being written."""
        ...


class BlobVanished(StorageUnavailable):
    """A blob that was on its way in has been removed by a sweep, or the store has not kept what it acknowledged."""


def check_staging(folder: Path) -> None:
    """Raise what keeps the folder from being written."""
    probe = folder / "probe"
    with storage_errors(folder):
        probe.write_bytes(b"probe")
        probe.unlink(missing_ok=True)


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn the system's refusals to write into errors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise no_room(folder) from error
        raise LocalError(f"cannot write in {folder}: {error.strerror}") from error


def sync_folder(folder: Path | str) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalBlobReader:
    """A blob in a local file."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self.size = descriptor, size

    def read_at(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalBlobStore:
    """Blobs under `folder/ALGORITHM/first two digits/HEX`, staged in `folder/staging` so that a rename moves them."""

    is_remote = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staging = folder / "staging"
        with storage_errors(folder):
            self._staging.mkdir(parents=True, exist_ok=True)

    @property
    def staging(self) -> Path:
        return self._staging

    def path(self, digest: Digest) -> Path:
        """Return where the blob lies, or would."""
        return Path(self._name(digest))

    def _name(self, digest: Digest) -> str:  # text, since it is made for each pull
        return f"{self._folder}/{name_of_digest(digest)}"

    def send(self, staged: Path, digest: Digest) -> None:
        """A rename takes no time."""

    def adopt(self, staged: Path, digest: Digest) -> None:
        final = self._name(digest)
        with storage_errors(self._folder):
            try:
                os.rename(staged, final)  # noqa: PTH104  # text, since it is done for each push
            except FileNotFoundError:
                self._make_folders(digest.algorithm)
                os.rename(staged, final)  # noqa: PTH104

    def settle(self, digests: Iterable[Digest]) -> None:
        with storage_errors(self._folder):
            for folder in dict.fromkeys(self._name(digest).rpartition("/")[0] for digest in digests):
                sync_folder(folder)

    def _make_folders(self, algorithm: str) -> None:
        """Make all folders that blobs of an algorithm lie in; durable at the cost of one."""
        top = self._folder / algorithm
        self._make_folder(top)
        for number in range(256):
            (top / f"{number:02x}").mkdir(exist_ok=True)
        sync_folder(top)

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if folder.parent != self._folder:
            self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)

    def check_blob(self, digest: Digest, size: int) -> None:
        self.open(digest, size).close()

    def identity(self, digest: Digest) -> str:
        try:
            found = os.stat(self._name(digest))  # noqa: PTH116  # as the other calls here
        except FileNotFoundError:
            return ""
        return f"{found.st_ino} {found.st_mtime_ns}"

    @property
    def redirects(self) -> bool:
        return False

    def url(self, digest: Digest) -> str:
        raise NotImplementedError(f"{digest} is served by the registry")

    def check(self) -> None:
        check_staging(self._staging)

    def open(self, digest: Digest, size: int) -> LocalBlobReader:
        try:
            descriptor = os.open(self._name(digest), os.O_RDONLY)
        except FileNotFoundError:
            raise StorageCorrupt(f"{digest} is recorded as held, but its file is missing from {self._folder}") from None
        found = os.fstat(descriptor).st_size
        if found != size:
            os.close(descriptor)
            raise StorageCorrupt(f"{digest} is recorded with {size} bytes, but its file has {found}")
        return LocalBlobReader(descriptor, size)

    def delete(self, digest: Digest) -> None:
        self.path(digest).unlink(missing_ok=True)

    def set_aside(self, digest: Digest) -> None:
        found = self.path(digest)
        aside = self._folder / QUARANTINE / found.relative_to(self._folder)
        with storage_errors(self._folder):
            self._make_folder(aside.parent)
            with suppress(FileNotFoundError):
                found.rename(aside)
            sync_folder(aside.parent)
            if found.parent.is_dir():
                sync_folder(found.parent)

    def stored(self) -> Iterator[Stored]:
        for root, folders, files in os.walk(self._folder):
            if Path(root) == self._folder:
                folders[:] = [name for name in folders if name not in {self._staging.name, PIECES}]
            for file in files:
                with suppress(FileNotFoundError):
                    found = os.lstat(f"{root}/{file}")
                    name = str(Path(root, file).relative_to(self._folder))
                    digest, aside = digest_of_name(name)
                    yield Stored(name, digest, found.st_size, found.st_mtime, aside)

    def remove_stored(self, name: str) -> None:
        with storage_errors(self._folder):
            (self._folder / name).unlink(missing_ok=True)
