"""Reading below one folder that somebody else has written: no link is followed, nothing but plain files is read."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from oci.errors import RemoteCorrupt, RemoteRefused

MAX_ENTRIES = 1_000_000
"""Entries of one folder beyond which it is taken for an attack."""

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER = _ROOT | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OF_ANOTHER_KIND = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO})


def shown_name(text: str) -> str:
    """Return the name of a file as it may be shown: what is not printable is escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:300])


LINKED = "is a symbolic link, which is not followed"
"""What is said of a link in the place of what it stands for."""


class ContainedFolder:
    """Reads below the folder `root`, which itself may be a link. Each part of a path is opened by itself, and none may be a link.

    Missing files are FileNotFoundError; a link, a pipe or a device is RemoteCorrupt; what may not be read is RemoteRefused.
    """

    def __init__(self, root: Path, below: tuple[str, ...] = ()) -> None:
        """`below` is a path within the root that stands before all others."""
        self.root, self._below = root, below

    def subfolders(self, *parts: str) -> list[str]:
        """Return the names of the folders in a folder, in ASCII order; none where it is missing. Links are left out."""
        return self._entries(parts, lambda entry: entry.is_dir(follow_symlinks=False))

    def files(self, *parts: str) -> list[str]:
        """Return the names of the plain files in a folder, in ASCII order; none where it is missing."""
        return self._entries(parts, lambda entry: entry.is_file(follow_symlinks=False))

    def links(self, *parts: str) -> list[str]:
        """Return the names of the symbolic links in a folder, in ASCII order: nothing behind them is read."""
        return self._entries(parts, os.DirEntry.is_symlink)

    def size(self, *parts: str) -> int | None:
        """Return the bytes of a file; None where it is missing."""
        try:
            with self.open(*parts) as file:
                return os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            return None

    def read(self, *parts: str, limit: int) -> bytes:
        """Return a whole file; raise RemoteCorrupt for one of more than `limit` bytes."""
        with self.open(*parts) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise RemoteCorrupt(f"{self._shown(parts)} is larger than the limit of {limit} bytes")
        return data

    def open(self, *parts: str) -> IO[bytes]:
        """Open a plain file for reading."""
        with self._telling(parts), self._folder(parts[:-1]) as folder:
            descriptor = os.open(_checked(parts[-1]), _FILE, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._of_another_kind(parts)
        return os.fdopen(descriptor, "rb", buffering=0)

    def _entries(self, parts: tuple[str, ...], is_wanted: "Callable[[os.DirEntry[str]], bool]") -> list[str]:
        found: list[str] = []
        try:
            with self._telling(parts), self._folder(parts) as descriptor, os.scandir(descriptor) as entries:
                for entry in entries:
                    found += [entry.name] if is_wanted(entry) else []
                    if len(found) > MAX_ENTRIES:
                        raise RemoteCorrupt(f"{self._shown(parts)} has more than {MAX_ENTRIES} entries")
        except FileNotFoundError:
            return []
        return sorted(found)

    @contextmanager
    def _folder(self, parts: tuple[str, ...]) -> Iterator[int]:
        descriptor = os.open(self.root, _ROOT)
        try:
            for part in (*self._below, *parts):
                below = os.open(_checked(part), _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _telling(self, parts: tuple[str, ...]) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _OF_ANOTHER_KIND:
                raise self._of_another_kind(parts) from None
            raise RemoteRefused(f"{self._shown(parts)} cannot be read: {error.strerror}") from None

    def _of_another_kind(self, parts: tuple[str, ...]) -> RemoteCorrupt:
        return RemoteCorrupt(f"{self._shown(parts)} is a link, or no plain file in plain folders, so it is not read")

    def _shown(self, parts: tuple[str, ...]) -> str:
        return shown_name("/".join((str(self.root), *self._below, *parts)))


def _checked(part: str) -> str:
    if part in ("", ".", "..") or "/" in part or "\0" in part:
        raise RemoteCorrupt(f"{shown_name(part)!r} is no name of a file")
    return part
