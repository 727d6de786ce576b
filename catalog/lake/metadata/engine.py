"""What the lake asks of either engine."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import duckdb

from oci.errors import CatalogNewer

if TYPE_CHECKING:
    from catalog.lake.direct.append import Append

Row = tuple[object, ...]
Read = Callable[[str, Sequence[object]], list[Row]]
META = "{meta}"
"""Stands before the name of a DuckLake table in the SQL of `Metadata.rows`."""


class Position(Protocol):
    """Tells of commits."""

    @property
    def value(self) -> int:
        """Return a number that grows with each commit of anybody; odd: one is under way. No I/O."""


class DirectWriter(Protocol):
    """Writes small appends without DuckDB. Call it under the lock."""

    @property
    def pid(self) -> int | None:
        """Return the process that writes, where it is one of its own."""

    def start(self) -> None:
        """Make it ready; do not wait for it."""

    def is_ready(self, *, wait: float = 0) -> bool:
        """Return whether it can be asked; `wait`: seconds at most for one that has just been started."""

    def commit(self, token: int, appends: "list[Append]", author: str, text: str, note: str) -> int:
        """Write a commit; return its snapshot's number. Raise NotDirect, or WorkerDied when nobody knows whether it landed."""

    def stop(self, *, now: bool = False) -> None:
        """End it."""


class Metadata(Protocol):
    """One process's hold on the metadata catalogue."""

    @property
    def extensions(self) -> Sequence[str]:
        """Return what DuckDB needs for it."""

    @property
    def sequence(self) -> Position:
        """Return what tells of commits."""

    @property
    def worker(self) -> DirectWriter:
        """Return what writes small appends."""

    @property
    def is_shared(self) -> bool:
        """Return whether several machines use it."""

    @property
    def place(self) -> str:
        """Return where it is, for messages."""

    def attach(self, connection: duckdb.DuckDBPyConnection, *, inlined_rows: int, schema: int) -> None:
        """Attach the lake as `lake`; the lock is held. `schema` is the number of the schema that this process knows."""

    def attach_anew(self, connection: duckdb.DuckDBPyConnection, *, inlined_rows: int) -> None:
        """Attach the lake to a further connection of this process; raise duckdb.Error."""

    def renew(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Have DuckDB, by a connection of its instance, read rows by a secret that has not expired; cheap where none is due."""

    def lock(self, *, changes: bool = False) -> AbstractContextManager[None]:
        """Be the one writer of all processes that use it; raise CatalogBusy, CatalogUnavailable.

        With `changes`, know the newest snapshot, as `hold` does, and raise what `check_mark` raises.
        """

    def check_mark(self) -> None:
        """Raise CatalogMoved where nothing may be written, CatalogNewer where not by this process; the lock is held."""

    def check_newer(self, found: int) -> None:
        """Raise CatalogNewer where a process that knows an older schema than the one found may not use the lake."""

    def refuse_older(self, number: int) -> None:
        """Have processes that do not know the schema of that number write nothing more; the lock is held."""

    def begin(self) -> int:
        """Begin a write under the lock; return the position that it builds on, which memory has to know."""

    def hold(self) -> None:
        """Take the newest snapshot as the one that the next transaction builds on; the lock is held. Raise CatalogUnavailable."""

    def check_held(self) -> None:
        """Raise CatalogUnavailable where the lock was lost."""

    def pin(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Refuse a transaction of DuckDB, just begun, that does not build on that position."""

    def cancel(self, before: int) -> None:
        """End a write that has written nothing."""

    def finish(self, *, is_direct: bool) -> int:
        """End a write; return the position after it. Others learn of it.

        One that `is_direct` is known to be the next snapshot. DuckDB makes none where nothing changes.
        """

    def heal(self) -> bool:
        """End the commit of a writer that died in it; return False when a writer is alive."""

    def confirm(self) -> None:
        """Make the position cover all that was committed before the call; raise CatalogUnavailable."""

    @property
    def looked_at(self) -> float:
        """Return since when `sequence` has missed no commit: that moment by `time.monotonic`, infinity on one machine; no I/O."""

    def look(self) -> None:
        """Have `sequence`, and all else that the listener tells, miss nothing until now; raise CatalogUnusable."""

    async def confirm_on_loop(self) -> None:
        """Do the same on the one event loop of this process, one call at a time."""

    def has_landed(self, snapshot_id: int | None, note: str, read: Read) -> bool:
        """Return whether a commit is there whose writer died, or whose end nobody heard; the lock is held.

        `snapshot_id` is what it was to be, None where DuckDB made it. Raise CatalogUnavailable where that cannot be found out.
        """

    def rows(self, sql: str, parameters: Sequence[object], read: Read) -> list[Row]:
        """Return rows of the bookkeeping, whose tables are named `{meta}ducklake_…`; `read` asks by DuckDB."""

    def close(self) -> None:
        """Close what is open, the direct writer too."""


def newer_schema(place: str, number: int) -> CatalogNewer:
    """Return the error of a process that does not know a schema that it would have to know."""
    return CatalogNewer(f"{place} was written by a newer release (schema {number}); upgrade entrepot")


def quoted(text: Path | str) -> str:
    """Return a path or text within a SQL string."""
    return str(text).replace("'", "''")
