"""Where the tests keep their files: in memory where there is enough of it, since most of their waiting is for a disk to sync.

One folder a run: the first process makes it, holds a lock on it, shares it as TMPDIR, and deletes it. A killed run leaves it
unlocked, and the next run deletes it. A TMPDIR of the caller's is kept, and so are the files in it.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path

DISK = "TESTS_DISK"
"""Environment variable with the folder for what has to be on a disk."""
SHARED_MEMORY = Path("/dev/shm")
GIB = 2**30
ROOM, AVAILABLE = 8 * GIB, 12 * GIB
"""Bytes that the file system must have free, and the machine in memory."""
_PREFIX = "entrepot-run-"
_YOUNG = 60.0
"""Seconds within which a folder without a lock may be one whose run has just begun."""


@dataclass(frozen=True)
class Memory:
    """What a machine has at a folder: the kind of file system, whether programs run from it, bytes free there and in memory."""

    kind: str
    executable: bool
    free: int
    available: int


def reason_for_disk(memory: Memory) -> str:
    """Return why files had better be on disk; empty when memory has the room. Pure."""
    if memory.kind != "tmpfs":
        return f"{SHARED_MEMORY} is not in memory"
    if not memory.executable:
        return f"{SHARED_MEMORY} runs no programs"
    if memory.free < ROOM:
        return f"{SHARED_MEMORY} has {memory.free / GIB:.1f} GiB free, below {ROOM / GIB:.0f}"
    if memory.available < AVAILABLE:
        return f"{memory.available / GIB:.1f} GiB of memory are available, below {AVAILABLE / GIB:.0f}"
    return ""


def read_memory(folder: Path = SHARED_MEMORY, *, system: Path = Path("/")) -> Memory:
    """Read what this machine has; a limit of the control group counts as the machine's."""
    kinds = dict(line.split()[1:3] for line in _lines(system / "proc/mounts"))
    if str(folder) not in kinds:
        return Memory("", executable=False, free=0, available=0)
    found = os.statvfs(folder)
    known = dict(line.split(":") for line in _lines(system / "proc/meminfo"))
    available = int(known.get("MemAvailable", "0").split()[0]) * 1024
    group = system / "sys/fs/cgroup"
    limit, used = _lines(group / "memory.max"), _lines(group / "memory.current")
    if limit and used and limit[0] != "max":
        available = min(available, int(limit[0]) - int(used[0]))
    return Memory(kinds[str(folder)], not found.f_flag & os.ST_NOEXEC, found.f_bavail * found.f_frsize, available)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


@contextlib.contextmanager
def in_memory(environ: MutableMapping[str, str]) -> Iterator[str]:
    """Have this process and those it starts keep their temporary files in memory, where that can be; yield a line on it."""
    chosen = next((environ[name] for name in ("TMPDIR", "TEMP", "TMP") if environ.get(name)), "")
    reason = f"TMPDIR={chosen}" if chosen else reason_for_disk(read_memory())
    disk = tempfile.gettempdir()
    environ[DISK] = disk
    if reason:
        yield f"files of tests: on disk, in {disk} ({reason})"
        return
    delete_abandoned(SHARED_MEMORY)
    with locked_folder(SHARED_MEMORY) as folder:
        environ["TMPDIR"], tempfile.tempdir = str(folder), None
        try:
            yield f"files of tests: in memory, in {folder}, deleted at the end (TMPDIR=FOLDER keeps them in a folder)"
        finally:
            del environ["TMPDIR"]
            tempfile.tempdir = None


@contextlib.contextmanager
def locked_folder(parent: Path) -> Iterator[Path]:
    """Make a folder that no other run deletes while this process lives; it is deleted in the end."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    folder.chmod(0o711)  # PostgreSQL runs as a user of its own, who has to get to its folder in here
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def delete_abandoned(parent: Path, *, now: float | None = None) -> None:
    """Delete the folders of runs that were killed: nobody holds their lock. `now` is in seconds since 1970."""
    now = time.time() if now is None else now
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or another run was quicker
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if now - os.fstat(descriptor).st_ctime > _YOUNG:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def disk() -> str:
    """Return the folder for temporary files that have to be on a disk, or would fill the memory."""
    return os.environ.get(DISK) or tempfile.gettempdir()
