"""Copies DuckLake's bookkeeping from one engine to the other, row by row, and its Parquet files; compares the two lakes.

All rows that lie in the bookkeeping have been flushed before: what holds such rows is made anew by DuckLake at the other end,
where its columns have other types. Source: DuckLake specification 1.0.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

import duckdb

from catalog.database.migration_mark import settle_names
from catalog.lake.duckdb_instance import load_extensions, open_duckdb
from catalog.lake.metadata.attachment import (
    attach_bookkeeping,
    attach_postgres,
    make_data_secret,
    sqlite_statement,
)
from catalog.lake.metadata.data import LakeData
from catalog.lake.metadata.engine import quoted
from catalog.migration.row_copy import Fingerprint
from catalog.postgres_address import PostgresAddress
from oci.errors import CatalogUnusable

Attach = Callable[[duckdb.DuckDBPyConnection], None]
_EXTENSIONS = ("sqlite_scanner", "postgres_scanner", "ducklake")
_INLINED = "ducklake_inlined_data_"
_INLINED_TABLES = "ducklake_inlined_data_tables"
_SCHEDULED = "ducklake_files_scheduled_for_deletion"
_ROW_HASH = "count(*), coalesce(sum(hash(r)::HUGEINT), 0)"
_FILES = """SELECT DISTINCT CASE WHEN CAST(files.path_is_relative AS BOOLEAN) THEN schemas.path || tables.path || files.path END
FROM (SELECT table_id, path, path_is_relative FROM source.{at}ducklake_data_file
    UNION ALL SELECT table_id, path, path_is_relative FROM source.{at}ducklake_delete_file) files
JOIN source.{at}ducklake_table tables USING (table_id) JOIN source.{at}ducklake_schema schemas USING (schema_id)"""


class LakeEnd:
    """Where a lake is: the SQLite file or the database of its bookkeeping, and the place of its Parquet files."""

    def __init__(self, file: Path, address: PostgresAddress | None, data: LakeData) -> None:
        self.file, self.address, self.data = file, address, data

    @property
    def at(self) -> str:
        """Return what goes before the name of a table."""
        return "main." if self.address is None else "public."

    def rows_as(self, name: str) -> "Attach":
        """Return what attaches the tables of the bookkeeping under a name."""

        def attach(connection: duckdb.DuckDBPyConnection) -> None:
            if self.address is not None:
                attach_bookkeeping(connection, self.address, name)
            else:
                connection.execute(f"ATTACH '{quoted(self.file)}' AS {name} (TYPE sqlite)")

        return attach

    def attach_lake(self, connection: duckdb.DuckDBPyConnection, options: str = "") -> None:
        """Attach the lake as `lake`, which makes it where it is missing."""
        if self.address is not None:
            attach_postgres(connection, self.address, self.data, options=options)
        else:
            folder = Path(self.data.place.rstrip("/"))
            connection.execute(sqlite_statement(self.file, folder, options=options))


class LakeCopy:
    """A copy from one lake to another; a context manager."""

    def __init__(self, source: LakeEnd, target: LakeEnd) -> None:
        self._source, self._target = source, target
        self.is_same_place = source.data.place == target.data.place
        self._data = target.data if target.data.secret else source.data
        self._instances: list[duckdb.DuckDBPyConnection] = []

    def __enter__(self) -> Self:
        """Load what takes a while, before locks are held."""
        for _ in range(3):  # DuckLake attaches one lake at a time under the name `lake`
            instance = open_duckdb(memory="1GB", threads=1)
            self._instances.append(instance)
            load_extensions(instance, (*_EXTENSIONS, *self._data.extensions))
            instance.execute("SET TimeZone = 'UTC'")
            make_data_secret(instance, self._data)
        return self

    def __exit__(self, *_: object) -> None:
        while self._instances:
            self._instances.pop().close()

    @contextmanager
    def _attached(self, number: int, attach: Mapping[str, Attach]) -> Iterator[duckdb.DuckDBPyConnection]:
        """Lend an instance with databases attached by name; raise CatalogUnusable."""
        instance = self._instances[number]
        try:
            for make in attach.values():
                make(instance)
            yield instance
        except duckdb.Error as error:
            with suppress(duckdb.Error):
                instance.execute("ROLLBACK")
            raise CatalogUnusable(f"copying the lake failed: {str(error).partition(chr(10))[0]}") from None
        finally:
            for name in attach:
                with suppress(duckdb.Error):
                    instance.execute(f"DETACH {name}")

    # --- Parquet files ---

    def files(self) -> list[str]:
        """Return the paths of all files that the source names, below its place of data."""
        with self._attached(0, {"source": self._source.rows_as("source")}) as connection:
            names = [row[0] for row in connection.execute(_FILES.format(at=self._source.at)).fetchall()]
        if None in names:
            raise CatalogUnusable("the lake names files outside its own folder, which cannot be moved")
        return sorted(names)

    def copy_files(self, *, is_final: bool) -> tuple[int, int]:
        """Copy those that the target lacks; return how many it copied, and how many there are.

        A file that has gone meanwhile is passed over, except at last.
        """
        names, copied = self.files(), 0
        if self.is_same_place:
            return 0, len(names)
        with self._attached(0, {}) as connection:
            there = self._present(connection)
            for name in names:
                if name not in there:
                    try:
                        self._copy(connection, name)
                    except (OSError, duckdb.Error) as error:
                        if is_final:
                            raise CatalogUnusable(f"cannot copy {name}: {str(error).partition(chr(10))[0]}") from None
                        continue
                    copied += 1
        return copied, len(names)

    def _present(self, connection: duckdb.DuckDBPyConnection) -> set[str]:
        place = self._target.data.place
        found = connection.execute(f"SELECT file FROM glob('{quoted(place)}**')").fetchall()
        return {row[0].removeprefix(place) for row in found}

    def _copy(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        """Copy a file, whole or not at all."""
        source, target = f"{self._source.data.place}{name}", f"{self._target.data.place}{name}"
        if not self._target.data.secret:
            path = Path(target)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            staged = path.with_name(f".{path.name}.new")
            target = str(staged)
        if self._source.data.secret or self._target.data.secret:
            connection.execute(
                f"COPY (SELECT content FROM read_blob('{quoted(source)}')) TO '{quoted(target)}' (FORMAT BLOB)"
            )
        else:
            shutil.copyfile(source, target)
        if not self._target.data.secret:
            with staged.open("rb") as file:
                os.fsync(file.fileno())
            staged.rename(path)
            settle_names(path.parent)

    # --- bookkeeping ---

    def make_target(self) -> None:
        """Have DuckLake make the tables of the target's bookkeeping, with its own types and keys."""
        with self._attached(2, {"lake": self._target.attach_lake}):
            pass

    def copy_bookkeeping(self) -> None:
        """Make the target's bookkeeping that of the source, in one transaction; the source is held."""
        with self._both() as connection:
            tables = self._tables(connection, "source")
            self._check_flushed(connection)
            connection.execute("BEGIN")
            there = self._columns(connection, "target")
            for table in [*there]:
                if table.startswith(_INLINED) and table != _INLINED_TABLES:
                    connection.execute(f"DROP TABLE target.{self._target.at}{table}")
                    del there[table]
            for table, columns in tables.items():
                if table not in there:
                    if columns and all(kind == "BIGINT" for kind in columns.values()):  # of deletes that are inlined
                        defined = ", ".join(f'"{name}" BIGINT' for name in columns)
                        connection.execute(f"CREATE TABLE target.{self._target.at}{table} ({defined})")
                        there[table] = columns
                    else:
                        raise CatalogUnusable(f"the lake has a table that cannot be moved: {table}")
            for table in there:
                self._copy_table(connection, table, there[table], has_rows=table in tables)
            connection.execute(
                f"UPDATE target.{self._target.at}ducklake_metadata SET value = ? WHERE key = 'data_path' AND scope IS NULL",
                [self._target.data.place],
            )
            connection.execute("COMMIT")

    def _copy_table(
        self, connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], *, has_rows: bool
    ) -> None:
        name = f"target.{self._target.at}{table}"
        connection.execute(f"DELETE FROM {name}")
        if has_rows and not self._is_left_out(table):
            casts = ", ".join(f'CAST("{column}" AS {kind})' for column, kind in columns.items())
            named = ", ".join(f'"{column}"' for column in columns)
            connection.execute(f"INSERT INTO {name} ({named}) SELECT {casts} FROM source.{self._source.at}{table}")

    def _is_left_out(self, table: str) -> bool:
        """Return whether rows of a table are of the source alone."""
        return table == _INLINED_TABLES or (table == _SCHEDULED and not self.is_same_place)

    def _check_flushed(self, connection: duckdb.DuckDBPyConnection) -> None:
        for (name,) in connection.execute(
            f"SELECT table_name FROM source.{self._source.at}{_INLINED_TABLES}"
        ).fetchall():
            rows = connection.execute(f"SELECT count(*) FROM source.{self._source.at}{name}").fetchone()
            if rows != (0,):
                raise CatalogUnusable(f"rows of {name} were not written to files; nothing was moved")

    def compare_bookkeeping(self) -> dict[str, tuple[Fingerprint, Fingerprint]]:
        """Return the fingerprints of each table of the bookkeeping on both sides, by types that both engines have."""
        found = {}
        with self._both() as connection:
            kinds = self._tables(connection, "source" if self._source.address else "target")
            for table in self._tables(connection, "source"):
                if table not in kinds or self._is_left_out(table):
                    continue
                casts = ", ".join(f'CAST("{column}" AS {kind}) AS "{column}"' for column, kind in kinds[table].items())
                where = " WHERE key <> 'data_path'" if table == "ducklake_metadata" else ""
                found[table] = tuple(
                    _fingerprint(connection, f"SELECT {casts} FROM {side}.{end.at}{table}{where}")
                    for side, end in (("source", self._source), ("target", self._target))
                )
        return found  # type: ignore[return-value]

    def compare_lakes(self) -> dict[str, tuple[Fingerprint, Fingerprint]]:
        """Return the fingerprints of each table of the lakes, read through DuckLake on both sides."""
        here, there = self._read_lake(1, self._source), self._read_lake(2, self._target)
        return {
            name: (here.get(name, Fingerprint(-1)), there.get(name, Fingerprint(-1)))
            for name in sorted(here.keys() | there.keys())
        }

    def _read_lake(self, number: int, end: LakeEnd) -> dict[str, Fingerprint]:
        with self._attached(number, {"lake": partial(end.attach_lake, options=", READ_ONLY")}) as connection:
            names = connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake' ORDER BY 1"
            ).fetchall()
            return {name: _fingerprint(connection, f"SELECT * FROM lake.{name}") for (name,) in names}

    @contextmanager
    def _both(self) -> Iterator[duckdb.DuckDBPyConnection]:
        ends = {"source": self._source.rows_as("source"), "target": self._target.rows_as("target")}
        with self._attached(0, ends) as connection:
            yield connection

    def _tables(self, connection: duckdb.DuckDBPyConnection, side: str) -> dict[str, dict[str, str]]:
        """Return the columns of each table but those that hold inlined rows."""
        found = self._columns(connection, side)
        return {
            name: columns for name, columns in found.items() if name == _INLINED_TABLES or not name.startswith(_INLINED)
        }

    @staticmethod
    def _columns(connection: duckdb.DuckDBPyConnection, side: str) -> dict[str, dict[str, str]]:
        rows = connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = ? "
            "AND starts_with(table_name, 'ducklake_') ORDER BY table_name, column_index",
            [side],
        ).fetchall()
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in rows:
            found.setdefault(table, {})[column] = kind
        return found


def _fingerprint(connection: duckdb.DuckDBPyConnection, sql: str) -> Fingerprint:
    row = connection.execute(f"SELECT {_ROW_HASH} FROM ({sql}) r").fetchone()
    return Fingerprint(int(row[0]), int(row[1])) if row else Fingerprint()
