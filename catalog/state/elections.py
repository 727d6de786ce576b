"""Elections: of all processes of an installation one does what must be done by one alone, such as notifying subscribers."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock, Timeout

from catalog.settings import Settings
from catalog.state.shared_state import SharedState

if TYPE_CHECKING:
    from catalog.database.session_locks import SessionLocks


class Election(Protocol):
    """A process's part in it. What it is elected for must bear to be done twice for a moment after a loss."""

    @property
    def may_be_lost(self) -> bool:
        """Return whether somebody else may be elected while this process lives: then ask `is_won` all the time."""

    def try_win(self) -> bool:
        """Return whether this process is elected now. Raises CatalogUnavailable."""

    def is_won(self) -> bool:
        """Return whether this process is elected still. Both may ask a server, so use a thread."""

    def resign(self) -> None:
        """Let another process be elected."""


class FileElection:
    """Elected is who holds the lock of a file, till the end of its process."""

    may_be_lost = False

    def __init__(self, file: Path) -> None:
        self._lock = FileLock(file, timeout=0, thread_local=False)

    def try_win(self) -> bool:
        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    def is_won(self) -> bool:
        return bool(self._lock.is_locked)

    def resign(self) -> None:
        self._lock.release()


class SharedElection:
    """Elected is who holds an advisory lock of PostgreSQL, as long as its connection lives."""

    may_be_lost = True

    def __init__(self, locks: "SessionLocks", name: str) -> None:
        self._locks, self._name = locks, f"election {name}"

    def try_win(self) -> bool:
        return self._locks.try_lock(self._name)

    def is_won(self) -> bool:
        return self._locks.holds(self._name)

    def resign(self) -> None:
        self._locks.unlock(self._name)


def open_election(settings: Settings, state: SharedState | None, name: str) -> Election:
    """Return an election by its name; those of other names have nothing to do with it."""
    return FileElection(settings.root / f"{name}.lock") if state is None else SharedElection(state.locks, name)
