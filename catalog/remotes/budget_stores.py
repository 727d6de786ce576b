"""Where the budget of an upstream is kept: a small file of the home, or a row that all machines share.

Times in a budget are those of the machines' clocks, which should agree to a second.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from catalog.state.shared_state import SharedState
from oci.remote.limits.budget import Budget

_BYTES = 4096
_KNOWN_FOR = 1.0
"""Seconds for which a row that was read is not read again, unless a request is counted in it."""


class BudgetStore(Protocol):
    """One upstream's budget; usable from any thread and by several processes."""

    def known(self) -> Budget | None:
        """Return what is known, where that takes no wait; None says: call `read` on a thread."""

    def read(self) -> Budget:
        """Return what is known now; raise CatalogUnavailable."""

    def change(self, change: Callable[[Budget], Budget]) -> Budget:
        """Change it alone among all processes; raise CatalogUnavailable."""


class BudgetFile:
    """A file that is changed under a lock of its own. What cannot be read is as if nothing were known."""

    def __init__(self, root: Path, key: str) -> None:
        self.path = root / "upstreams" / f"{quote(key, safe='')}.json"
        self._seen: tuple[int, int] = (0, 0)
        self._budget = Budget()

    def known(self) -> Budget:
        return self.read()

    def read(self) -> Budget:
        """Return what is known now; a `stat` where nothing has changed."""
        try:
            found = self.path.stat()
        except OSError:
            return Budget()
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._seen:
            with suppress(OSError):
                self._budget, self._seen = _parse(self.path.read_bytes()), stamp
        return self._budget

    def change(self, change: Callable[[Budget], Budget]) -> Budget:
        """Change it under the lock, which is held for a moment; one write of one block, so that a kill leaves no half."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            old = _parse(os.pread(descriptor, _BYTES, 0))
            new = change(old)
            if new != old:
                os.pwrite(descriptor, json.dumps(asdict(new)).encode().ljust(_BYTES), 0)
            return new
        finally:
            os.close(descriptor)


class BudgetRow:
    """A row of the table `upstream_budgets`. It need not outlive a crash of the server, so no write waits for the disk."""

    def __init__(self, state: SharedState, key: str) -> None:
        self._database, self._key = state.database, key
        self._known: tuple[float, Budget] | None = None

    def known(self) -> Budget | None:
        if self._known is None or time.monotonic() > self._known[0]:
            return None
        return self._known[1]

    def read(self) -> Budget:
        rows = self._database.rows("SELECT body FROM upstream_budgets WHERE key = ?", (self._key,))
        return self._keep(_parse(rows[0][0]) if rows else Budget())

    def change(self, change: Callable[[Budget], Budget]) -> Budget:
        with self._database.transaction([f"budget {self._key}"]) as connection:
            connection.execute("SET LOCAL synchronous_commit = off")
            row = connection.execute("SELECT body FROM upstream_budgets WHERE key = ?", (self._key,)).fetchone()
            old = _parse(row[0]) if row else Budget()
            new = change(old)
            if new != old:
                connection.execute(
                    "INSERT INTO upstream_budgets VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET body = excluded.body",
                    (self._key, json.dumps(asdict(new))),
                )
        return self._keep(new)

    def _keep(self, budget: Budget) -> Budget:
        self._known = time.monotonic() + _KNOWN_FOR, budget
        return budget


class BudgetMemory:
    """A budget of this process alone, where there is no home to keep it in."""

    def __init__(self) -> None:
        self._budget, self._guard = Budget(), threading.Lock()

    def known(self) -> Budget:
        return self._budget

    def read(self) -> Budget:
        return self._budget

    def change(self, change: Callable[[Budget], Budget]) -> Budget:
        with self._guard:
            self._budget = change(self._budget)
            return self._budget


def open_budget(root: Path, key: str, state: SharedState | None) -> BudgetStore:
    """Return the budget of an upstream, for all processes of the home or of the shared state; no home is made for it."""
    if state is not None:
        return BudgetRow(state, key)
    return BudgetFile(root, key) if root.is_dir() else BudgetMemory()


def _parse(raw: bytes | str) -> Budget:
    try:
        fields = json.loads(raw)
        return Budget(**{**fields, "sent": tuple((int(slot), int(count)) for slot, count in fields["sent"])})
    except (ValueError, TypeError, KeyError):
        return Budget()
