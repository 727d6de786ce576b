"""Room on the disk: uploads leave a reserve, and a ballast is thrown off when others have taken even that.

Deleting, garbage collection, logins and tokens write a little. They go on when uploads are refused; and what starts on a disk
without a free byte has the ballast's room.
"""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oci.errors import LocalError, StorageFull

if TYPE_CHECKING:
    from catalog.settings import Settings

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
MAX_RESERVE = 1024 * 1024 * 1024
"""Bytes that are kept free of a large disk, where the settings say nothing; of a small one, a twentieth."""

BALLAST = 8 * 1024 * 1024
"""Bytes of the ballast: some hundred deletions, or one garbage collection."""

WHAT_FREES = (
    "`entrepot gc` frees what no version needs, `entrepot reclaim` what upstreams have too, `entrepot maintain` old files of the "
    "catalogue; deleting tags, versions and repositories gives gc more to free"
)


def reserve_of(asked: int, total: int) -> int:
    """Bytes to keep free of a disk of `total` bytes; `asked` is the setting, negative for what is usual."""
    return asked if asked >= 0 else min(MAX_RESERVE, total // 20)


def no_room(folder: Path) -> StorageFull:
    """The error of a write that found no room."""
    return StorageFull(f"no room left in {folder}: {WHAT_FREES}")


@dataclass(frozen=True, slots=True)
class Room:
    """Watches the disks of some folders. `reserve` as in `reserve_of`; `ballast` is the file that is thrown off."""

    folders: Sequence[Path]
    reserve: int
    ballast: Path

    def check(self, size: int) -> None:
        """Raise StorageFull when `size` bytes more would take from the reserve of any folder; some microseconds each."""
        for folder in self.folders:
            found = os.statvfs(folder)
            reserve = reserve_of(self.reserve, found.f_blocks * found.f_frsize)
            if reserve and found.f_bavail * found.f_frsize - size < reserve:
                raise StorageFull(
                    f"no room left for uploads in {folder}, of which {reserve} bytes are kept free: {WHAT_FREES}"
                )

    def is_full(self) -> bool:
        """Return whether the ballast's disk has less room than the ballast takes."""
        found = os.statvfs(self.ballast.parent)
        return found.f_bavail * found.f_frsize < BALLAST

    def throw_off(self) -> bool:
        """Give up the ballast when the disk is full; whether there was one."""
        if not self.is_full() or not self.ballast.exists():
            return False
        self.ballast.unlink(missing_ok=True)
        return True

    def take_on(self) -> None:
        """Have a ballast again, where it takes nothing from the reserve."""
        if self.ballast.exists():
            return
        staged = self.ballast.with_suffix(".new")
        with suppress(StorageFull, OSError):
            self.check(BALLAST)
            descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, BALLAST)
            finally:
                os.close(descriptor)
            staged.rename(self.ballast)
            return
        with suppress(OSError):
            staged.unlink(missing_ok=True)


def open_room(settings: "Settings") -> Room:
    """Return what watches the disks of the settings' folders, which are made; raise StorageFull."""
    folders = [settings.catalog_file.parent, settings.storage_folder or settings.root / "staging"]
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in FULL:
                raise no_room(folder) from error
            raise LocalError(f"cannot make {folder}: {error.strerror}") from error
    return Room(tuple(folders), settings.disk_reserve, folders[0] / "ballast")
