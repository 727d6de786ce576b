"""What one look-up may cost: rows that are read, steps of SQLite's machine, and seconds."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_AT_ONCE = 1000
"""Steps of SQLite between two looks at the budget."""


class BudgetSpent(Exception):
    """A look-up has cost all that it may; what it has found so far stands."""


@dataclass(slots=True)
class SearchBudget:
    """The limits of one look-up; `read` and `done` are what it has cost so far, in rows and in steps."""

    rows: int = 100_000
    steps: int = 20_000_000
    seconds: float = 2.0
    clock: Callable[[], float] = time.monotonic
    read: int = 0
    done: int = 0
    _until: float = 0.0

    def count(self) -> None:
        """Count a row, or a query; raise BudgetSpent."""
        self.read += 1
        if self.read > self.rows:
            raise BudgetSpent

    @contextmanager
    def watching(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Have SQLite stop what runs meanwhile once the budget is spent; raise BudgetSpent then."""
        self._until = self._until or self.clock() + self.seconds
        is_spent = False

        def look() -> bool:
            nonlocal is_spent
            self.done += _AT_ONCE
            is_spent = self.done > self.steps or self.clock() > self._until
            return is_spent

        connection.set_progress_handler(look, _AT_ONCE)
        try:
            yield
        except sqlite3.OperationalError as error:
            if is_spent:
                raise BudgetSpent from error
            raise
        finally:
            connection.set_progress_handler(None, 0)
