"""Locks by name that processes hold against each other: bytes of a file, or advisory locks of PostgreSQL.

Best effort: a holder that dies gives its locks back, and one that loses its connection may go on beside the next holder.
"""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from catalog.state.shared_state import SharedState

if TYPE_CHECKING:
    from catalog.database.session_locks import SessionLocks


class NamedLocks(Protocol):
    """One process's locks: a process that waits for many holds one connection, not one for each."""

    @property
    def is_immediate(self) -> bool:
        """Return whether calls may be made on an event loop; else use a thread."""

    def try_lock(self, name: str) -> bool:
        """Take a lock unless another process has it; raise CatalogUnavailable."""

    def unlock(self, name: str) -> None:
        """Give a lock back."""

    def close(self) -> None:
        """Give all locks back."""


class FileLocks:
    """Each lock is one byte of a file, locked by the system for this process."""

    is_immediate = True

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)

    def try_lock(self, name: str) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
        except OSError:
            return False
        return True

    def unlock(self, name: str) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _place(name))

    def close(self) -> None:
        os.close(self._file)


def _place(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:15], 16)


class SharedLocks:
    """Each lock is an advisory lock of PostgreSQL, on the one connection that this process has for all of them."""

    is_immediate = False

    def __init__(self, locks: "SessionLocks", kind: str) -> None:
        self._locks, self._kind = locks, kind

    def try_lock(self, name: str) -> bool:
        return self._locks.try_lock(f"{self._kind} {name}")

    def unlock(self, name: str) -> None:
        self._locks.unlock(f"{self._kind} {name}")

    def close(self) -> None:
        """Leave it to the shared state, which closes the connection."""


def open_locks(file: Path, state: SharedState | None, kind: str) -> NamedLocks:
    """Return the locks in a file, or those of a kind in the shared state."""
    return FileLocks(file) if state is None else SharedLocks(state.locks, kind)
