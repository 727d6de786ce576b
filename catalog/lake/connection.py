"""The connection to DuckLake: attach, one writer at a time, migrations.

Source: DuckLake specification 1.0. `metadata` is where the bookkeeping lies; the rows are Parquet, or inlined in it.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from catalog.disk_reserve import Room, no_room
from catalog.lake.cursors import Cursors
from catalog.lake.direct.choice import DIRECT, INLINED_ROWS, STARTED_AFTER, duckdb_reason
from catalog.lake.direct.columns import NotDirect
from catalog.lake.direct.supervisor import WorkerDied
from catalog.lake.duckdb_instance import ducklake_version, load_extensions, open_duckdb, remembers_much
from catalog.lake.failures import first_line, may_pass_by_itself
from catalog.lake.metadata.engine import Metadata, Row
from catalog.lake.metadata.sqlite import SqliteMetadata
from catalog.lake.nested_repair import heal_inlined
from catalog.lake.schema import BREAKING, MIGRATIONS, SCHEMA_VERSION, TEXTS_SINCE
from catalog.lake.writer import Writer, roll_back
from oci.errors import CatalogUnavailable, CatalogUnusable, LocalError

log = logging.getLogger("catalog")
_RENEWED_EVERY, _PATIENCE = 60.0, 5.0
"""Seconds in which readers of one process renew the schema once at most, and for which others wait for its writer."""
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds after which a question that a flush has overtaken is asked again."""
_FORMER_SHAPES = """SELECT table_id FROM __ducklake_metadata_lake.ducklake_inlined_data_tables
GROUP BY table_id HAVING count(*) > 1"""


class Lake:
    """One process's connection; every thread gets a cursor of its own."""

    def __init__(
        self,
        file: Path,
        *,
        memory: str,
        threads: int,
        lock_timeout: float,
        room: Room | None = None,
        direct_commits: bool = True,
        worker_after: int = STARTED_AFTER,
        metadata: Metadata | None = None,
    ) -> None:
        """Open or make the lake; `file` is its SQLite file, or with other `metadata` names this machine's folder.

        With `direct_commits`, a worker writes small ones after the first `worker_after`.
        """
        self.file, self.data, self._room = file, file.parent / "data", room
        self.metadata = metadata or SqliteMetadata(file, lock_timeout=lock_timeout)
        self.sequence, self.worker = self.metadata.sequence, self.metadata.worker
        self._writing = threading.Lock()
        self._writer = 0
        self._cursors = Cursors()
        self._renew_after = 0.0
        self._memory, self._threads, self._reopening = memory, threads, threading.Lock()
        self._root = self._open_duckdb()
        self._release = duckdb.__version__, ducklake_version(self._root)
        self.commit_counts = Counter[str]()  # `direct`, or the reason why DuckDB wrote them
        self._direct_commits, self._worker_after = direct_commits, worker_after
        try:
            with self._locked(changes=False):  # two processes that both make the lake would hinder each other
                self.metadata.attach(self._root, inlined_rows=INLINED_ROWS, schema=SCHEMA_VERSION)
                self._root.execute("USE lake")
                self._migrate()
        except BaseException as error:
            self.close()
            if not isinstance(error, duckdb.Error):
                raise
            if room is not None and room.is_full():
                raise no_room(file.parent) from error
            raise self._failure("open", error) from error

    def _open_duckdb(self) -> duckdb.DuckDBPyConnection:
        extensions = self.metadata.extensions
        root = open_duckdb(memory=self._memory, threads=self._threads, caches_files="httpfs" in extensions)
        load_extensions(root, extensions)
        return root

    def _reopen(self, reason: str = "it failed for good", *, level: int = logging.WARNING) -> bool:
        """Open DuckDB anew for all threads, unless another thread has done so; return False where that fails.

        A fatal error leaves an instance of no more use: DuckDB has one where the server ends its sessions in a bad moment.
        """
        with self._reopening:
            if self._cursors.root is not self._root:
                return True  # another thread has done so
            root = self._open_duckdb()
            try:
                self.metadata.attach_anew(root, inlined_rows=INLINED_ROWS)
                root.execute("USE lake")
            except duckdb.Error:  # the database is away: the next who asks tries again
                root.close()
                return False
            log.log(level, "DuckDB was opened anew reason=%s", reason)
            self._root = root
            return True

    def give_back_memory(self) -> bool:
        """Open DuckDB anew where it remembers much of former snapshots; return whether that was done. Raises CatalogUnusable.

        It waits for a write of this process, since a transaction is of one instance; after some seconds nothing is done.
        """
        if not remembers_much(self.read) or not self._writing.acquire(timeout=_PATIENCE):
            return False
        try:
            is_new = self._reopen("it remembered much of former snapshots", level=logging.INFO)
            self._cursors.close_former(self._root)
            return is_new
        finally:
            self._writing.release()

    @property
    def place(self) -> str:
        """Return where the bookkeeping is, for messages."""
        return self.metadata.place

    def _migrate(self) -> None:
        """Bring the schema up to date; raise CatalogMoved where that would change a catalogue that takes no changes.

        Raise CatalogNewer for one that a newer release has made, unless all it did is to add.
        """
        self._root.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions (number BIGINT NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
        )
        row = self._root.execute("SELECT coalesce(max(number), 0) FROM schema_versions").fetchone()
        found = int(row[0]) if row else 0
        if found > SCHEMA_VERSION:
            self.metadata.check_newer(found)
        if found < SCHEMA_VERSION:
            self.metadata.check_mark()
        if found == 0:  # one transaction: tables that had several shapes in committed ones keep rows of each apart
            self._run_migrations(range(SCHEMA_VERSION))
            return
        for number in range(found, SCHEMA_VERSION):
            if number + 1 in BREAKING:
                self.metadata.refuse_older(number + 1)
            if number < TEXTS_SINCE:  # a transaction of its own: DuckDB changes one database in each
                heal_inlined(self._root)
            self._run_migrations(range(number, number + 1))

    def _run_migrations(self, numbers: range) -> None:
        """Take the schema from one number to another in one transaction, unless another process has done so meanwhile."""
        self._root.execute("BEGIN")
        row = self._root.execute("SELECT coalesce(max(number), 0) FROM schema_versions").fetchone()
        if row != (numbers.start,):
            raise CatalogUnavailable(f"another process has changed the schema of {self.place} meanwhile; try again")
        for number in numbers:
            for statement in MIGRATIONS[number]:
                self._root.execute(statement) if isinstance(statement, str) else statement(self._root)
            self._root.execute("INSERT INTO schema_versions VALUES (?, now())", [number + 1])
        self.metadata.check_held()
        self._root.execute("COMMIT")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return the calling thread's cursor, for who writes, or uses the catalogue alone."""
        cursor = self._cursors.of(root := self._root)
        self.metadata.renew(root)
        return cursor

    @contextmanager
    def using(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield the calling thread's cursor, to read from."""
        with self._cursors.use(root := self._root) as cursor:
            self.metadata.renew(root)
            yield cursor

    def read(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        """Return all rows of a question, with its parameters by place (`?`) or by name (`$name`); raise CatalogUnusable.

        A question that a flush of another process overtakes looks for what is gone (`flush`): it is asked again. If it still
        fails, that process was killed before the schema was new: then it is made new here.
        """
        try:
            try:
                return self._read(sql, parameters)
            except duckdb.FatalException:
                if self._writer == threading.get_ident() or not self._reopen():  # a transaction is not begun anew
                    raise
                return self._read(sql, parameters)
        except duckdb.Error as error:
            raise self._failure("read", error) from error

    def _failure(self, verb: str, error: duckdb.Error) -> CatalogUnusable:
        """Return what an error of DuckDB's is told as: what another machine does not answer may pass by itself."""
        is_away = self.is_shared and may_pass_by_itself(error)
        if isinstance(error, duckdb.FatalException):
            self._reopen()
        kind = CatalogUnavailable if is_away else CatalogUnusable
        return kind(f"cannot {verb} the catalogue {self.place}: {first_line(error)}")

    def _read(self, sql: str, parameters: Sequence[object] | Mapping[str, object]) -> list[Row]:
        if self._writer == threading.get_ident():  # nobody flushes meanwhile
            return self._ask(sql, parameters)
        for pause in _PAUSES:
            with suppress(duckdb.CatalogException, duckdb.InvalidInputException):
                return self._ask(sql, parameters)
            time.sleep(pause)
        # At most once in a while: a question that is wrong fails whatever the schema is. Who writes may wait for who reads.
        with self._locked(patience=_PATIENCE):
            if time.monotonic() >= self._renew_after:
                self._renew_after = time.monotonic() + _RENEWED_EVERY
                self._renew_schema()
        return self._ask(sql, parameters)

    def _ask(self, sql: str, parameters: Sequence[object] | Mapping[str, object]) -> list[Row]:
        with self.using() as cursor:
            return cursor.execute(sql, parameters).fetchall()

    @property
    def is_shared(self) -> bool:
        """Return whether other machines commit."""
        return self.metadata.is_shared

    def confirm(self) -> None:
        """Make `sequence` cover all that was committed before, as it always does on one machine; raise CatalogUnavailable.

        It covers all for whoever holds the lock: nobody else commits, and what is planned after a lost lock is refused.
        """
        if self._writer != threading.get_ident():
            self.metadata.confirm()

    async def confirm_on_loop(self) -> None:
        """Do the same on the one event loop of this process, one call at a time."""
        await self.metadata.confirm_on_loop()

    def read_metadata(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return rows of DuckLake's own tables, which are named `{meta}ducklake_…`; raise CatalogUnusable."""
        return self.metadata.rows(sql, parameters, self.read)

    def _renew_schema(self) -> None:
        """Make the schema a new one, so that every process reads anew where rows are. Call it under the lock."""
        self.cursor().execute("COMMENT ON TABLE schema_versions IS 'what this release has made of the schema'")

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """Hold the lock for one write: made and durable on leaving, undone when an error leaves it."""
        with self._locked():
            before, way = self.metadata.begin(), ""
            writer = Writer(self._begin, before)
            try:
                yield writer
                if writer.wrote:
                    way = self._commit(writer)
                    self.commit_counts[way] += 1
            except BaseException as error:
                writer.roll_back()
                if isinstance(error, duckdb.Error):
                    raise self._unwritable(error) from error
                raise
            finally:  # a COMMIT that failed may have landed all the same: the others look
                if writer.wrote:
                    writer.after = self.metadata.finish(is_direct=way == DIRECT)
                else:
                    self.metadata.cancel(before)

    def _begin(self) -> duckdb.DuckDBPyConnection:
        """Begin a transaction of DuckDB under the lock; return the connection it runs on."""
        cursor = self.cursor()
        cursor.execute("BEGIN")
        try:
            self.metadata.pin(cursor)
        except BaseException:
            roll_back(cursor)  # else this thread would go on within it for ever
            raise
        return cursor

    def _commit(self, writer: Writer) -> str:
        """Write what a writer has gathered, directly or by DuckDB; return which way."""
        if self.is_shared:
            writer.mark()
        try:
            return self._commit_directly(writer)
        except NotDirect as reason:
            try:
                writer.commit()
            except duckdb.Error:
                if not self.metadata.has_landed(None, writer.note, self.read):
                    raise
            return str(reason)

    def _commit_directly(self, writer: Writer) -> str:
        """Have the worker write; return how that is counted. Raise NotDirect with the reason when nothing was written."""
        reason = duckdb_reason(
            writer.sizes(), only_appends=writer.only_appends, is_allowed=self._direct_commits, release=self._release
        )
        if reason is not None:
            raise NotDirect(reason)
        if self.commit_counts.total() >= self._worker_after:
            self.worker.start()
        if not self.worker.is_ready():
            raise NotDirect("no worker yet")
        try:
            self.worker.commit(self.sequence.value, writer.appends(), writer.author, writer.message, writer.note)
        except WorkerDied as death:
            if death.snapshot_id is None or not self.metadata.has_landed(death.snapshot_id, writer.note, self.read):
                raise NotDirect("the worker died") from death
        return DIRECT

    def maintain(self, sql: str, parameters: Sequence[object] = ()) -> tuple[list[Row], float]:
        """Run one statement of DuckLake's maintenance under the lock; return its rows, and the seconds that the lock was held.

        No version changes by it, so nobody has to read the change feed.
        """
        with self._locked():
            began = time.monotonic()
            with self._pinned() as cursor:
                rows = cursor.execute(sql, parameters).fetchall()
            return rows, time.monotonic() - began

    @contextmanager
    def _pinned(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Make one transaction of maintenance under the lock, which others have overtaken in no moment until it ends."""
        cursor = self._begin()
        try:
            yield cursor
            self.metadata.check_held()
            cursor.execute("COMMIT")
        except BaseException as error:
            roll_back(cursor)
            if isinstance(error, duckdb.Error):
                raise self._unwritable(error) from error
            raise
        self.metadata.hold()

    def flush(self, table: str) -> tuple[int, float]:
        """Write a table's rows that lie in the bookkeeping into a file; return how many they were, and the seconds as above.

        DuckLake drops with it what held rows of former shapes of any table, where processes that know the schema go on to look.
        So the schema becomes a new one, which they notice; and once more after the commit, for one who read it before the drop.
        """
        with self._locked():
            began = time.monotonic()
            return self._flush(table), time.monotonic() - began

    def _flush(self, table: str) -> int:
        with self._pinned() as cursor:
            former = cursor.execute(_FORMER_SHAPES).fetchall()
            rows = cursor.execute("CALL ducklake_flush_inlined_data('lake', table_name => ?)", [table]).fetchall()
            if former:
                self._renew_schema()
        if former:
            with self._pinned():
                self._renew_schema()
        return sum(int(row[2]) for row in rows)

    @contextmanager
    def hold(self) -> Iterator[Callable[[str], int]]:
        """Hold the lock for who copies the lake; yield what flushes a table meanwhile."""
        with self._locked():
            yield self._flush

    def _unwritable(self, error: duckdb.Error) -> LocalError:
        """Return what a failed write is told as; with a full disk the ballast goes, so that the next one finds room."""
        if self._room is not None and self._room.is_full():
            self._room.throw_off()
            return no_room(self.file.parent)
        return self._failure("write", error)

    def heal_sequence(self) -> bool:
        """End the commit of a writer that died in it; False when a writer is alive."""
        if not self._writing.acquire(blocking=False):
            return False
        try:
            return self.metadata.heal()
        finally:
            self._writing.release()

    @contextmanager
    def _locked(self, *, changes: bool = True, patience: float | None = None) -> Iterator[None]:
        """Be the one writer: threads by a mutex, processes by the metadata's lock. With `changes`, raise CatalogMoved.

        `patience`: seconds to wait for another thread of this process; then raise CatalogUnavailable. None: without a limit.
        """
        if self._writer == threading.get_ident():
            raise RuntimeError("a write within a write would wait for itself")
        if not self._writing.acquire(timeout=-1 if patience is None else patience):
            raise CatalogUnavailable(f"a write in {self.place} did not end for {patience:g} s; try again")
        try:
            self._writer = threading.get_ident()
            with self.metadata.lock(changes=changes):
                yield
        finally:
            self._writer = 0
            self._writing.release()

    def close(self) -> None:
        """Close all cursors and files."""
        self.metadata.close()
        self._cursors.close()
        self._root.close()
