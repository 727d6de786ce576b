"""The connection to DuckLake: attach, one writer at a time, migrations.

Source: DuckLake specification 1.0. The bookkeeping is one SQLite file, the rows are Parquet beside it or inlined in it.
"""

import importlib.util
import json
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
from filelock import FileLock, Timeout

from catalog.disk_reserve import Room, no_room
from catalog.lake.commit_counter import Sequence as CommitSequence
from catalog.lake.nested_repair import heal_inlined
from catalog.lake.schema import MIGRATIONS, SCHEMA_VERSION, TEXTS_SINCE
from catalog.units import parse_size
from oci.errors import CatalogBusy, CatalogUnusable, InvalidInput, LocalError
from oci.unicode import fit_text, is_fit

_EXTENSIONS = ("sqlite_scanner", "ducklake")
Row = tuple[object, ...]
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


def attach_statement(file: Path, data: Path, *, options: str = "") -> str:
    """The SQL that attaches the lake as `lake`. Its rows are where the folder is now, wherever it was when the lake was made."""
    places = f"DATA_PATH '{quoted(data)}/', OVERRIDE_DATA_PATH true"
    return f"ATTACH 'ducklake:sqlite:{quoted(file)}' AS lake ({places}{options})"


def quoted(path: Path) -> str:
    """A path within a SQL string."""
    return str(path).replace("'", "''")


def check_fit(value: object) -> None:
    """Raise InvalidInput for a text that the catalogue cannot hold as it is."""
    if isinstance(value, str) and not is_fit(value):
        raise InvalidInput(f"{value[:100]!r} holds a NUL or half a surrogate pair, which is no text")


class Lake:
    """One process's connection; every thread gets a cursor of its own."""

    def __init__(self, file: Path, *, memory: str, threads: int, lock_timeout: float, room: Room | None = None) -> None:
        self.file, self.data, self._room = file, file.parent / "data", room
        self._lock_timeout = lock_timeout
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(file.with_suffix(".lock"), timeout=lock_timeout, thread_local=False)
        self._writing = threading.Lock()
        self._writer = 0
        self._local = threading.local()
        self._renew_after = 0.0
        self._root = duckdb.connect(":memory:", config={"memory_limit": f"{parse_size(memory)}B", "threads": threads})
        load_extensions(self._root)
        options = (
            f", META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT {int(lock_timeout * 1000)}, DATA_INLINING_ROW_LIMIT 1000"
        )
        with self._locked():  # two processes that both make the file would hinder each other
            self.sequence = CommitSequence(file.with_suffix(".sequence"))
            if self.sequence.value % 2:  # its writer died, for we hold the lock
                self.sequence.finish()
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
        for number in range(found, SCHEMA_VERSION):
            if found > 0 and number < TEXTS_SINCE:  # a transaction of its own: DuckDB changes one database in each
                heal_inlined(self._root)
            self._root.execute("BEGIN")
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
    def write(self) -> Iterator["Writer"]:
        """Hold the lock for one transaction: committed on leaving, undone when an error leaves it."""
        with self._locked():
            cursor = self.cursor()
            before = self.sequence.begin()
            writer = Writer(cursor, before)
            try:
                cursor.execute("BEGIN")
                yield writer
                cursor.execute("COMMIT" if writer.wrote else "ROLLBACK")
            except BaseException as error:
                _roll_back(cursor)
                if isinstance(error, duckdb.Error):
                    raise self._unwritable(error) from error
                raise
            finally:  # a COMMIT that failed may have landed all the same: the others look
                if writer.wrote:
                    writer.after = self.sequence.finish()
                else:
                    self.sequence.restore(before)

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
                _roll_back(cursor)
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
        except Timeout:
            return False
        else:
            if self.sequence.value % 2:
                self.sequence.finish()
            self._lock.release()
            return True
        finally:
            self._writing.release()

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
                yield
            finally:
                self._writer = 0
                self._lock.release()

    def close(self) -> None:
        """Close all cursors and files."""
        self._root.close()
        self.sequence.close()


class Writer:
    """What one transaction may do; `before` and `after` are the commit counter's values around it."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, before: int) -> None:
        self._cursor = cursor
        self.before = self.after = before
        self.wrote = False

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Add a few rows, in the order of the table's columns; raise InvalidInput for text that the catalogue cannot hold."""
        if not rows:
            return
        values = [value for row in rows for value in row]
        for value in values:
            for text in value if isinstance(value, list) else (value,):
                check_fit(text)
        self.wrote = True
        places = ", ".join([f"({', '.join('?' * len(rows[0]))})"] * len(rows))
        self._cursor.execute(f"INSERT INTO {table} VALUES {places}", values)

    def append(self, table: str, rows: pa.Table) -> None:
        """Add rows by name of column; columns that they lack are NULL. Quicker than `insert` for wide rows and for many."""
        self.wrote = True
        self._cursor.register("incoming_rows", rows)
        try:
            self._cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming_rows")
        finally:
            self._cursor.unregister("incoming_rows")

    def delete(self, table: str, column: str, value: object) -> None:
        """Remove the rows whose column has the value."""
        self.execute(f"DELETE FROM {table} WHERE {column} = ?", [value])

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        """Run one statement that writes."""
        self.wrote = True
        self._cursor.execute(sql, parameters)

    def clear(self, table: str) -> int:
        """Remove all rows; return how many they were."""
        self.wrote = True
        row = self._cursor.execute(f"DELETE FROM {table}").fetchone()
        return int(row[0]) if row else 0

    def describe(
        self,
        actor: str,
        message: str,
        *,
        versions: Mapping[str, range] | None = None,
        distributions: Mapping[str, str] | None = None,
        acts: int = 0,
        squashed: Mapping[str, Collection[int]] | None = None,
        ended: Mapping[str, int] | None = None,
        remotes: bool = False,
        totals: Mapping[str, tuple[int, int]] | None = None,
        quotas: bool = False,
    ) -> None:
        """Say in DuckLake's own record who commits what; other processes read from it what they must look at again.

        `versions`: repository → the numbers made; `distributions`: path → `set` or `deleted`; `acts`: rows of audit events;
        `squashed`: versions that are no more; `ended`: repositories that are no more, with the last number they had;
        `totals`: tags and bytes of the latest of `versions`; `remotes`, `quotas`: some were changed.
        """
        made = versions or {}
        told: dict[str, object] = {
            "versions": {name: numbers[-1] for name, numbers in made.items()},
            "first": {name: numbers[0] for name, numbers in made.items() if len(numbers) > 1},
            "distributions": dict(distributions or {}),
            "acts": acts,
            "remotes": remotes,
        }
        if squashed:
            told["squashed"] = {name: sorted(numbers) for name, numbers in squashed.items()}
        if ended:
            told["ended"] = dict(ended)
        if totals:
            told["totals"] = dict(totals)
        if quotas:
            told["quotas"] = True
        note = json.dumps(told)
        self._cursor.execute(
            "CALL lake.set_commit_message(?, ?, extra_info => ?)", [fit_text(actor), fit_text(message), note]
        )


def _roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.TransactionException):  # there is none when BEGIN or COMMIT itself failed
        cursor.execute("ROLLBACK")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
