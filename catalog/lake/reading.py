"""Reading a lake without opening the catalogue, in a process that may have nothing else of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import duckdb

from catalog.lake.duckdb_instance import OWN_EXTENSIONS, load_extensions
from catalog.lake.metadata.attachment import POSTGRES, SQLITE, attach_postgres, libpq_options, sqlite_statement
from catalog.lake.metadata.data import LakeData
from catalog.lake.metadata.engine import Row, quoted
from catalog.lake.schema import SCHEMA_VERSION
from catalog.postgres_address import PostgresAddress


@dataclass(frozen=True, slots=True)
class LakePlace:
    """Where a lake is: its SQLite file, or a database and its rows; with a database, `file` names this machine's folder."""

    file: Path
    address: PostgresAddress | None = None
    data: LakeData = field(default=LakeData(""))  # it is frozen

    @property
    def name(self) -> str:
        """Return it for messages."""
        return str(self.file) if self.address is None else self.address.place

    @property
    def folder(self) -> str:
        """Return where its rows lie, with `/` at the end."""
        return self.data.place or f"{self.file.parent / 'data'}/"

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Attach it as `lake`, for reading alone."""
        if self.address is None:
            load_extensions(connection, SQLITE)
            connection.execute(sqlite_statement(self.file, self.file.parent / "data", options=", READ_ONLY"))
        else:
            load_extensions(connection, (*POSTGRES, *self.data.extensions))
            attach_postgres(connection, self.address, self.data, read_only=True)

    def attach_blob_index(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Attach the record of blobs as `holdings`, after `attach`, for reading alone. Return False where there is none."""
        file = self.file.parent / "holdings.sqlite"
        if self.address is not None:
            connection.execute(
                f"ATTACH '{quoted(libpq_options(self.address, read_only=True))}' AS holdings "
                "(TYPE postgres, SECRET entrepot_database, SCHEMA 'entrepot', READ_ONLY)"
            )
        elif file.exists():
            connection.execute(f"ATTACH '{quoted(file)}' AS holdings (TYPE sqlite, READ_ONLY)")
        else:
            return False
        return True

    @property
    def blob_schema(self) -> str:
        """Return the schema of `holdings` that has the table `blobs`."""
        return "main" if self.address is None else "entrepot"

    def dump(self) -> dict[str, Any]:
        """Return it as JSON values, secrets included."""
        return {
            "file": str(self.file),
            "address": None if self.address is None else asdict(self.address),
            "data": {"place": self.data.place, "secret": dict(self.data.secret)},
        }


def load_place(told: Mapping[str, Any]) -> LakePlace:
    """Read what `LakePlace.dump` returned."""
    address = told["address"]
    if address is not None:
        address = PostgresAddress(**{**address, "options": tuple(map(tuple, address["options"]))})
    return LakePlace(Path(told["file"]), address, LakeData(**told["data"]))


def listed(texts: Iterable[str]) -> str:
    """Many texts without blanks as one parameter, which a question reads as `string_split(?, ' ')`.

    DuckDB takes some 0.2 ms for each element of a list that is bound to it: a hundred times as long.
    """
    return " ".join(texts)


class Readable(Protocol):
    """Answers questions about the lake."""

    def read(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        """Return all rows of a question."""


class AttachedLake:
    """A lake that was attached for reading alone: a connection of one thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def read(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        """Return all rows of a question; raise NotReadable."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except duckdb.Error as error:
            raise NotReadable(str(error)) from error


class NotReadable(Exception):
    """A lake cannot be read without opening the catalogue: it is of another release, is being written anew, or is broken."""


@contextmanager
def attached(file: Path) -> Iterator[AttachedLake]:
    """Attach a lake in a SQLite file for reading; write and migrate nothing. Raise NotReadable where that does not do.

    All questions see the same state: that of the first.
    """
    try:
        with duckdb.connect(":memory:", config={"threads": 1, **OWN_EXTENSIONS}) as connection:
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            LakePlace(file).attach(connection)
            connection.execute("USE lake")
            lake = AttachedLake(connection)
            if lake.read("SELECT max(number) FROM schema_versions") != [(SCHEMA_VERSION,)]:
                raise NotReadable("it has the schema of another release")
            connection.execute("BEGIN")
            yield lake
    except duckdb.Error as error:
        raise NotReadable(str(error)) from error
