"""Which flow runs of this home have a living process: each holds a lock that the kernel frees with its end."""

import fcntl
import os
import re
from pathlib import Path

from catalog.settings import Settings

TAG = "entrepot"
"""Runs of ours carry it; on a server of somebody else no other run is touched."""

_held: list[int] = []
"""File descriptors of this process's locks, kept open until it ends."""


def locks_folder(settings: Settings) -> Path:
    """Return where the locks are, one file for each run, named by its id."""
    return settings.root / "prefect" / "runs"


def hold_run(folder: Path, run_id: str) -> bool:
    """Hold a run's lock until this process ends; return False where none can be made, so that heartbeats must tell of the run.

    The file gets its name once it is locked, so nobody sees it free before.
    """
    if not _is_id(run_id):
        return False
    staged = folder / f".{run_id}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(staged, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        staged.rename(_file(folder, run_id))
    except OSError:  # a full disk, or a file system without locks, is no reason not to run
        return False
    _held.append(descriptor)
    return True


def is_held(folder: Path, run_id: str) -> bool | None:
    """Return whether a run's process lives; None for a run without a lock here, as one of another home or of an older release."""
    if not _is_id(run_id):
        return None
    try:
        descriptor = os.open(_file(folder, run_id), os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def forget_run(folder: Path, run_id: str) -> None:
    """Remove the lock of a run whose process has ended."""
    if _is_id(run_id):
        _file(folder, run_id).unlink(missing_ok=True)


def locked_runs(folder: Path) -> list[str]:
    """The ids of all runs that have a lock, held or free."""
    return sorted(file.stem for file in folder.glob("*.lock"))


def _is_id(run_id: str) -> bool:
    """Return whether this may be the id of a run, and so the name of a file: a server may say anything."""
    return re.fullmatch(r"[0-9a-z-]{1,36}", run_id) is not None


def _file(folder: Path, run_id: str) -> Path:
    return folder / f"{run_id}.lock"
