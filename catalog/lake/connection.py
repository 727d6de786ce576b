"""The connection to DuckLake: attach, one writer at a time, migrations.

Source: DuckLake specification 1.0. The bookkeeping is one SQLite file, the rows are Parquet beside it or inlined in it.
"""

import importlib.util
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from catalog.disk_reserve import Room, no_room
from catalog.lake.commit_counter import Sequence as CommitSequence
from catalog.lake.direct.choice import DIRECT, INLINED_ROWS, STARTED_AFTER, duckdb_reason
from catalog.lake.direct.columns import NotDirect
from catalog.lake.direct.supervisor import Supervisor, WorkerDied
from catalog.lake.duckdb_instance import open_duckdb
from catalog.lake.insertion import Row
from catalog.lake.nested_repair import heal_inlined
from catalog.lake.schema import MIGRATIONS, SCHEMA_VERSION, TEXTS_SINCE
from catalog.lake.writer import Writer, roll_back
from oci.errors import CatalogBusy, CatalogUnusable, LocalError

_EXTENSIONS = ("sqlite_scanner", "ducklake")
_RENEWED_EVERY = 60.0
"""Seconds in which readers of one process renew the schema once at most."""
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds after which a question that a flush has overtaken is asked again."""
_FORMER_SHAPES = """SELECT table_id FROM __ducklake_metadata_lake.ducklake_inlined_data_tables
GROUP BY table_id HAVING count(*) > 1"""


def listed(texts: Iterable[str]) -> str:
    """Many texts without blanks as one parameter, which a question reads as `string_split(?, ' ')`.

    DuckDB takes some 0.2 ms for each element of a list that is bound to it: a hundred times as long.
    """
    return " ".join(texts)


def load_extensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Load DuckDB's extensions from their installed packages; nothing is fetched."""
    for name in _EXTENSIONS:
        spec = importlib.util.find_spec(f"duckdb_extension_{name}")
        folders = list(spec.submodule_search_locations or ()) if spec else []
        files = [file for folder in folders for file in Path(folder).rglob(f"{name}.duckdb_extension")]
        if not files:
            raise CatalogUnusable(f"package duckdb-extension-{name.replace('_', '-')} is missing; run `make setup`")
        connection.execute(f"LOAD '{files[0]}'")
    connection.execute("SET allow_unsigned_extensions = false")  # which nobody can take back


def attach_statement(file: Path, data: Path, *, options: str = "") -> str:
    """The SQL that attaches the lake as `lake`. Its rows are where the folder is now, wherever it was when the lake was made."""
    places = f"DATA_PATH '{quoted(data)}/', OVERRIDE_DATA_PATH true"
    return f"ATTACH 'ducklake:sqlite:{quoted(file)}' AS lake ({places}{options})"


def quoted(path: Path) -> str:
    """A path within a SQL string."""
    return str(path).replace("'", "''")


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
    ) -> None:
        """Open or make the lake. With `direct_commits`, a worker writes small ones after the first `worker_after`."""
        self.file, self.data, self._room = file, file.parent / "data", room
        self._lock_timeout = lock_timeout
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(file.with_suffix(".lock"), timeout=lock_timeout, thread_local=False)
        self._writing = threading.Lock()
        self._writer = 0
        self._local, self._cursors = threading.local(), weakref.WeakSet[duckdb.DuckDBPyConnection]()
        self._renew_after = 0.0
        self._root = open_duckdb(memory=memory, threads=threads)
        load_extensions(self._root)
        self._release = duckdb.__version__, _extension_version(self._root)
        options = (
            f", META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT {int(lock_timeout * 1000)}, "
            f"DATA_INLINING_ROW_LIMIT {INLINED_ROWS}"
        )
        counter = file.with_suffix(".sequence")
        self.sequence = CommitSequence(counter)
        self.worker = Supervisor(file, counter, busy_timeout=lock_timeout)
        self.commit_counts = Counter[str]()  # `direct`, or the reason why DuckDB wrote them
        self._direct_commits, self._worker_after = direct_commits, worker_after
        with self._locked():  # two processes that both make the file would hinder each other
            try:
                self._root.execute(attach_statement(file, self.data, options=options))
                self._root.execute("USE lake")
                self._note_place()
                self._migrate()
            except duckdb.Error as error:
                self._root.close()
                if room is not None and room.is_full():
                    raise no_room(file.parent) from error
                raise CatalogUnusable(f"cannot open the catalogue {file}: {_first_line(error)}") from error

    def _note_place(self) -> None:
        """Say in the bookkeeping where the rows are now, for other programs that read the lake after its folder was moved."""
        where = "__ducklake_metadata_lake.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL"
        found = self._root.execute(f"SELECT value FROM {where}").fetchone()
        if found is not None and found[0] != f"{self.data}/":
            self._root.execute(f"UPDATE {where.replace(' WHERE', ' SET value = ? WHERE')}", [f"{self.data}/"])

    def _migrate(self) -> None:
        self._root.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions (number BIGINT NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
        )
        row = self._root.execute("SELECT coalesce(max(number), 0) FROM schema_versions").fetchone()
        found = int(row[0]) if row else 0
        if found > SCHEMA_VERSION:
            raise CatalogUnusable(f"{self.file} was written by a newer release (schema {found}); upgrade entrepot")
        if (
            found == 0
        ):  # one transaction: tables that had several shapes in committed ones keep rows of each apart for ever
            self._run_migrations(range(SCHEMA_VERSION))
            return
        for number in range(found, SCHEMA_VERSION):
            if number < TEXTS_SINCE:  # a transaction of its own: DuckDB changes one database in each
                heal_inlined(self._root)
            self._run_migrations(range(number, number + 1))

    def _run_migrations(self, numbers: range) -> None:
        self._root.execute("BEGIN")
        for number in numbers:
            for statement in MIGRATIONS[number]:
                self._root.execute(statement) if isinstance(statement, str) else statement(self._root)
            self._root.execute("INSERT INTO schema_versions VALUES (?, now())", [number + 1])
        self._root.execute("COMMIT")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """The calling thread's cursor."""
        cursor: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._root.cursor()
            cursor.execute("USE lake")
            self._local.cursor = cursor
            self._cursors.add(cursor)
        return cursor

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return all rows of a question; raise CatalogUnusable.

        A question that a flush of another process overtakes looks for what is gone (`flush`): it is asked again. If it still
        fails, that process was killed before the schema was new: then it is made new here.
        """
        try:
            return self._read(sql, parameters)
        except duckdb.Error as error:
            raise CatalogUnusable(f"cannot read the catalogue {self.file}: {_first_line(error)}") from error

    def _read(self, sql: str, parameters: Sequence[object]) -> list[Row]:
        if self._writer == threading.get_ident():  # nobody flushes meanwhile
            return self.cursor().execute(sql, parameters).fetchall()
        for pause in _PAUSES:
            with suppress(duckdb.CatalogException, duckdb.InvalidInputException):
                return self.cursor().execute(sql, parameters).fetchall()
            time.sleep(pause)
        with self._locked():  # at most once in a while: a question that is wrong fails whatever the schema is
            if time.monotonic() >= self._renew_after:
                self._renew_after = time.monotonic() + _RENEWED_EVERY
                self._renew_schema()
        return self.cursor().execute(sql, parameters).fetchall()

    def _renew_schema(self) -> None:
        """Make the schema a new one, so that every process reads anew where rows are. Call it under the lock."""
        self.cursor().execute("COMMENT ON TABLE schema_versions IS 'what this release has made of the schema'")

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """Hold the lock for one write: made and durable on leaving, undone when an error leaves it."""
        with self._locked():
            before = self.sequence.begin()
            writer = Writer(self.cursor, before)
            try:
                yield writer
                if writer.wrote:
                    self.commit_counts[self._commit(writer)] += 1
            except BaseException as error:
                writer.roll_back()
                if isinstance(error, duckdb.Error):
                    raise self._unwritable(error) from error
                raise
            finally:  # a COMMIT that failed may have landed all the same: the others look
                if writer.wrote:
                    writer.after = self.sequence.finish()
                else:
                    self.sequence.restore(before)

    def _commit(self, writer: Writer) -> str:
        """Write what a writer has gathered, directly or by DuckDB; return which way."""
        try:
            return self._commit_directly(writer)
        except NotDirect as reason:
            writer.commit()
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
            if death.snapshot_id is None or not self._landed(death.snapshot_id, writer.note):
                raise NotDirect("the worker died") from death
        return DIRECT

    def _landed(self, snapshot_id: int, note: str) -> bool:
        """Return whether a commit is there whose worker died; nobody else has written since, for the lock is held."""
        return bool(
            self.read(
                "SELECT 1 FROM __ducklake_metadata_lake.ducklake_snapshot_changes "
                "WHERE snapshot_id = ? AND commit_extra_info = ?",
                [snapshot_id, note],
            )
        )

    def maintain(self, sql: str, parameters: Sequence[object] = ()) -> tuple[list[Row], float]:
        """Run one statement of DuckLake's maintenance under the lock; return its rows, and the seconds that the lock was held.

        No version changes by it, so nobody has to read the change feed.
        """
        with self._locked():
            began = time.monotonic()
            rows = self.read(sql, parameters)
            return rows, time.monotonic() - began

    def flush(self, table: str) -> tuple[int, float]:
        """Write a table's rows that lie in the bookkeeping into a file; return how many they were, and the seconds as above.

        DuckLake drops with it what held rows of former shapes of any table, where processes that know the schema go on to look.
        So the schema becomes a new one, which they notice; and once more after the commit, for one who read it before the drop.
        """
        with self._locked():
            began, cursor = time.monotonic(), self.cursor()
            try:
                cursor.execute("BEGIN")
                former = cursor.execute(_FORMER_SHAPES).fetchall()
                rows = cursor.execute("CALL ducklake_flush_inlined_data('lake', table_name => ?)", [table]).fetchall()
                if former:
                    self._renew_schema()
                cursor.execute("COMMIT")
                if former:
                    self._renew_schema()
            except duckdb.Error as error:
                roll_back(cursor)
                raise self._unwritable(error) from error
            return sum(int(row[2]) for row in rows), time.monotonic() - began

    def _unwritable(self, error: duckdb.Error) -> LocalError:
        """Return what a failed write is told as; with a full disk the ballast goes, so that the next one finds room."""
        if self._room is not None and self._room.is_full():
            self._room.throw_off()
            return no_room(self.file.parent)
        return CatalogUnusable(f"cannot write the catalogue {self.file}: {_first_line(error)}")

    def heal_sequence(self) -> bool:
        """End the commit of a writer that died in it; False when a writer is alive."""
        if not self._writing.acquire(blocking=False):
            return False
        try:
            self._lock.acquire(timeout=0)
            try:
                return self._end_dead_commit(wait=False)
            finally:
                self._lock.release()
        except Timeout:
            return False
        finally:
            self._writing.release()

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

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer on this machine: threads by a mutex, processes by a lock on a file beside the catalogue."""
        if self._writer == threading.get_ident():
            raise RuntimeError("a write within a write would wait for itself")
        with self._writing:
            try:
                self._lock.acquire()
            except Timeout:
                raise CatalogBusy(
                    f"another process has held {self._lock.lock_file} for {self._lock_timeout:g} s; "
                    "find it (fuser shows its pid), or raise ENTREPOT_LOCK_TIMEOUT"
                ) from None
            self._writer = threading.get_ident()
            try:
                self._end_dead_commit()
                yield
            finally:
                self._writer = 0
                self._lock.release()

    def close(self) -> None:
        """Close all cursors and files."""
        self.worker.stop()
        for cursor in list(self._cursors):  # one that an error's traceback keeps would keep the files open
            cursor.close()
        self._root.close()
        self.sequence.close()


def _extension_version(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute(
        "SELECT extension_version FROM duckdb_extensions() WHERE extension_name = 'ducklake'"
    ).fetchone()
    return str(row[0]) if row else ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
