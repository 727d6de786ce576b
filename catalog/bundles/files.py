"""Bundles on disk: a tar where the name ends in `.tar`, else a folder. Written whole or not at all; read with suspicion."""

import errno
import io
import os
import shutil
import stat
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from catalog.blobs.local_store import storage_errors, sync_folder
from catalog.bundles.format import BundleInvalid
from oci.errors import Conflict, LocalError

CHUNK = 1024 * 1024
_NOT_PLAIN = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ENXIO})
"""Errors of opening what is a link, a socket, or not there any longer."""


class BundleWriter(Protocol):
    """Takes files in order."""

    def add(self, name: str, size: int, source: IO[bytes]) -> None:
        """Add a file of `size` bytes."""
        ...


@contextmanager
def create_bundle(path: Path) -> Iterator[BundleWriter]:
    """Write a bundle beside its place, sync it, and put it there when all went well; raise Conflict when something is there."""
    if path.exists():
        raise Conflict(f"{path} exists already; choose another name, or remove it first")
    if not path.parent.is_dir():
        raise LocalError(f"there is no folder {path.parent} to write {path.name} into")
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with storage_errors(path.parent):
            if path.suffix == ".tar":
                with partial.open("wb") as file:
                    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                        yield _TarWriter(archive)
                    file.flush()
                    os.fsync(file.fileno())
            else:
                partial.mkdir()
                yield _FolderWriter(partial)
            partial.rename(path)
            sync_folder(path.parent)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


class _TarWriter:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def add(self, name: str, size: int, source: IO[bytes]) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o644
        self._archive.addfile(entry, source)


class _FolderWriter:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, size: int, source: IO[bytes]) -> None:
        del size
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            shutil.copyfileobj(source, file, CHUNK)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def open_bundle(path: Path) -> Iterator[Iterator[tuple[str, int, IO[bytes]]]]:
    """Give the files of a bundle as (name, size, content), in their order; each content is read before the next is asked for.

    Raises BundleInvalid for what is no bundle, is truncated, or holds other things than files with plain relative names.
    """
    if path.is_dir():
        yield _files_of_folder(path)
        return
    try:
        with path.open("rb", buffering=CHUNK) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            yield _files_of_tar(path, archive)
    except FileNotFoundError:
        raise BundleInvalid(f"there is no bundle {path}") from None
    except tarfile.TarError as error:
        raise BundleInvalid(f"{path} is no tar, or it is truncated: {error}") from None


@contextmanager
def open_by_name(path: Path) -> Iterator[Callable[[str, int], bytes]]:
    """Give a function that returns a file of a bundle by its name, whole, up to so many bytes; both raise BundleInvalid."""
    if path.is_dir():
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield lambda name, most: _whole(path, name, _open_below(folder, path, Path(name)), most)
        finally:
            os.close(folder)
        return
    try:
        with path.open("rb", buffering=CHUNK) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            entries = {entry.name: entry for entry in archive if entry.isfile()}

            def read(name: str, most: int) -> bytes:
                source = archive.extractfile(entries[name]) if name in entries else None
                if source is None:
                    raise BundleInvalid(f"{path} lacks {name}")
                return _whole(path, name, source, most)

            yield read
    except FileNotFoundError:
        raise BundleInvalid(f"there is no bundle {path}") from None
    except tarfile.TarError as error:
        raise BundleInvalid(f"{path} is no tar, or it is truncated: {error}") from None


def _whole(path: Path, name: str, source: IO[bytes], most: int) -> bytes:
    with source:
        found = source.read(most + 1)
    if len(found) > most:
        raise BundleInvalid(f"{path}: {name} has more than {most} bytes")
    return found


def _files_of_tar(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    for entry in archive:
        if entry.isdir():
            continue
        _check_name(path, entry.name)
        source = archive.extractfile(entry) if entry.isfile() else None
        if source is None:
            raise BundleInvalid(f"{path} holds {entry.name!r}, which is no plain file")
        yield entry.name, entry.size, source


def _files_of_folder(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    def rank(found: Path) -> tuple[bool, str]:
        return found.name != "entrepot.json", str(found)

    names = [found.relative_to(path) for found in sorted(_plain(path), key=rank)]
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            with _open_below(folder, path, name) as source:
                yield str(name), os.fstat(source.fileno()).st_size, source
    finally:
        os.close(folder)


def _plain(path: Path) -> Iterator[Path]:
    return (found for found in path.rglob("*") if found.is_symlink() or not found.is_dir())


def _open_below(folder: int, path: Path, name: Path) -> IO[bytes]:
    """Open a file of a folder without following a link at any step: whoever may write there could put one in its place meanwhile,
    and so have us read, with our rights, what they may not. Raises BundleInvalid for what is no plain file."""
    opened = os.dup(folder)
    try:
        for part in name.parts[:-1]:
            within = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened)
            os.close(opened)
            opened = within
        file = os.open(name.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=opened)
    except OSError as error:
        if error.errno not in _NOT_PLAIN:
            raise
        raise BundleInvalid(f"{path} holds {name}, which is no plain file") from None
    finally:
        os.close(opened)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise BundleInvalid(f"{path} holds {name}, which is no plain file")
    return os.fdopen(file, "rb")


def _check_name(path: Path, name: str) -> None:
    if name.startswith("/") or ".." in Path(name).parts or "\\" in name or not name.isprintable():
        raise BundleInvalid(f"{path} holds a file named {name[:200]!r}, which leads out of it; nothing was imported")


def in_memory(data: bytes) -> IO[bytes]:
    """Small content as a file."""
    return io.BytesIO(data)
