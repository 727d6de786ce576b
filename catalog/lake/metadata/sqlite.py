"""The metadata catalogue in a SQLite file beside the rows: one machine, a lock on a file, a counter in shared memory.

DuckDB's own SQLite library opens the file in this process; the direct writer is a process of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from catalog.database.migration_mark import MarkFile
from catalog.lake.direct.supervisor import Supervisor
from catalog.lake.metadata.attachment import SQLITE, sqlite_statement
from catalog.lake.metadata.commit_counter import Sequence as CommitSequence
from catalog.lake.metadata.engine import META, Read, Row, newer_schema
from oci.errors import CatalogBusy


class SqliteMetadata:
    """See `engine.Metadata`."""

    extensions = SQLITE
    is_shared = False

    def __init__(self, file: Path, *, lock_timeout: float) -> None:
        self._file, self._data, self._lock_timeout = file, file.parent / "data", lock_timeout
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(file.with_suffix(".lock"), timeout=lock_timeout, thread_local=False)
        self._mark = MarkFile(file)
        counter = file.with_suffix(".sequence")
        self.sequence = CommitSequence(counter)
        self.worker = Supervisor(file, counter, busy_timeout=lock_timeout)

    @property
    def place(self) -> str:
        return str(self._file)

    def attach(self, connection: duckdb.DuckDBPyConnection, *, inlined_rows: int, schema: int) -> None:  # noqa: ARG002
        if not self._file.exists():
            self._mark.check()  # else there would be a new catalogue in the place of one that arrives
        self.attach_anew(connection, inlined_rows=inlined_rows)
        self._note_place(connection)

    def attach_anew(self, connection: duckdb.DuckDBPyConnection, *, inlined_rows: int) -> None:
        options = (
            f", META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT {int(self._lock_timeout * 1000)}, "
            f"DATA_INLINING_ROW_LIMIT {inlined_rows}"
        )
        connection.execute(sqlite_statement(self._file, self._data, options=options))

    def _note_place(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Say in the bookkeeping where the rows are now, for other programs that read the lake after its folder was moved."""
        where = "__ducklake_metadata_lake.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL"
        found = connection.execute(f"SELECT value FROM {where}").fetchone()
        if found is not None and found[0] != f"{self._data}/":
            connection.execute(f"UPDATE {where.replace(' WHERE', ' SET value = ? WHERE')}", [f"{self._data}/"])

    def renew(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Do nothing: the rows are files."""

    @contextmanager
    def lock(self, *, changes: bool = False) -> Iterator[None]:
        """Be the one writer on this machine, by a lock on a file beside the catalogue."""
        try:
            self._lock.acquire()
        except Timeout:
            raise CatalogBusy(
                f"another process has held {self._lock.lock_file} for {self._lock_timeout:g} s; "
                "find it (fuser shows its pid), or raise ENTREPOT_LOCK_TIMEOUT"
            ) from None
        try:
            self._end_dead_commit()
            if changes:
                self._mark.check()
            yield
        finally:
            self._lock.release()

    def check_mark(self) -> None:
        self._mark.check()

    def check_newer(self, found: int) -> None:
        raise newer_schema(self.place, found)

    def refuse_older(self, number: int) -> None:
        """Do nothing: on one machine, all processes are stopped for an upgrade."""

    def begin(self) -> int:
        return self.sequence.begin()

    def hold(self) -> None:
        """Do nothing, as `pin`."""

    def check_held(self) -> None:
        """Do nothing: the lock ends with the process."""

    def pin(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Do nothing: SQLite refuses a transaction that others have overtaken."""

    def cancel(self, before: int) -> None:
        self.sequence.restore(before)

    def finish(self, *, is_direct: bool) -> int:  # noqa: ARG002  # the counter is looked at by all who read
        return self.sequence.finish()

    def heal(self) -> bool:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            return self._end_dead_commit(wait=False)
        finally:
            self._lock.release()

    def _end_dead_commit(self, *, wait: bool = True) -> bool:
        """End the commit of a process that died in it; the lock is held. What its worker has written is there on return.

        The counter stays odd until then: who reads meanwhile reads again. False, with `wait` off, while the worker still writes.
        """
        if self.sequence.value % 2:
            self.sequence.take_over()
            if not self.worker.take_over(wait=wait):
                return False
            self.sequence.finish()
        return True

    def confirm(self) -> None:
        """Do nothing: the counter is in shared memory."""

    @property
    def looked_at(self) -> float:
        return float("inf")

    def look(self) -> None:
        """Do nothing: all processes see the counter."""

    async def confirm_on_loop(self) -> None:
        """Do nothing, as `confirm`."""

    def has_landed(self, snapshot_id: int | None, note: str, read: Read) -> bool:
        if snapshot_id is None:  # DuckDB says of its own transactions whether they failed
            return False
        sql = "SELECT 1 FROM {meta}ducklake_snapshot_changes WHERE snapshot_id = ? AND commit_extra_info = ?"
        return bool(self.rows(sql, [snapshot_id, note], read))

    def rows(self, sql: str, parameters: Sequence[object], read: Read) -> list[Row]:
        return read(sql.replace(META, "__ducklake_metadata_lake."), parameters)

    def close(self) -> None:
        self.worker.stop()
        self.sequence.close()
