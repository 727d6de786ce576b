"""An installation in PostgreSQL as an end of a migration. It loads psycopg."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from catalog.blobs.lake_data import lake_data
from catalog.blobs.schema import SCHEMA as HOLDINGS_SCHEMA
from catalog.database.engine import Transaction
from catalog.database.migration_mark import MARK_SQL, MigrationMark, parse_mark
from catalog.database.postgresql import SCHEMA, PostgresDatabase, connect_postgres, lock_key, make_schema
from catalog.migration.ends import State
from catalog.migration.lake_copy import LakeEnd
from catalog.settings import Settings
from catalog.state.shared_state import STATE_SCHEMA
from catalog.webhooks.queue import QUEUE_SCHEMA
from oci.errors import CatalogUnusable, SettingsInvalid

_FROZEN = (
    "blobs", "links", "deliveries", "leaving", "quarantine", "marks", "events", "seen", "runs", "cursors", "queue_mark",
    "documents",
)  # fmt: skip
_REFUSAL = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0];
END $$"""


class SharedRows:
    """State in the tables of a database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self.database = self.holdings = self.queue = database
        for schema in (HOLDINGS_SCHEMA, QUEUE_SCHEMA, STATE_SCHEMA):
            database.migrate(schema)

    def documents(self) -> dict[str, str]:
        return dict(self.database.rows("SELECT name, body FROM documents"))

    def budgets(self) -> dict[str, str]:
        return dict(self.database.rows("SELECT key, body FROM upstream_budgets"))

    def write_documents(self, found: Mapping[str, str]) -> None:
        with self.database.transaction() as transaction:
            transaction.execute("DELETE FROM documents")
            transaction.executemany("INSERT INTO documents VALUES (?, 1, ?)", found.items())

    def write_budgets(self, found: Mapping[str, str]) -> None:
        with self.database.transaction() as transaction:
            transaction.execute("DELETE FROM upstream_budgets")
            transaction.executemany("INSERT INTO upstream_budgets VALUES (?, ?)", found.items())

    def set_next_event(self, number: int) -> None:
        self.database.rows("SELECT setval(pg_get_serial_sequence('events', 'id'), ?, false)", (number,))

    def close(self) -> None:
        self.database.close()


class PostgresEnd:
    """See `ends.End`."""

    def __init__(self, settings: Settings, *, is_target: bool) -> None:
        address = settings.catalog_address
        if address is None:
            raise SettingsInvalid("expected postgresql://USER@HOST:PORT/DATABASE")
        self._settings, self._address, self._is_target = settings, address, is_target
        self._transaction: Transaction | None = None

    @property
    def place(self) -> str:
        return self._address.place

    @property
    def lake(self) -> LakeEnd:
        return LakeEnd(self._settings.catalog_file, self._address, lake_data(self._settings))

    def mark(self) -> MigrationMark | None:
        with connect_postgres(self._address) as connection:
            return self._mark(connection)

    def _mark(self, connection: "psycopg.Connection[Any]") -> MigrationMark | None:
        row = connection.execute(MARK_SQL.encode()).fetchone()
        return parse_mark(row[0] if row else None, self.place)

    def check_free(self, mark: MigrationMark) -> None:
        with connect_postgres(self._address) as connection:
            self._check_free(connection, mark)

    def _check_free(self, connection: "psycopg.Connection[Any]", mark: MigrationMark) -> None:
        found = self._mark(connection)
        if found is None:
            used = connection.execute(
                "SELECT 1 FROM pg_tables WHERE schemaname = 'entrepot' "
                "OR (schemaname = 'public' AND tablename = 'ducklake_snapshot')"
            ).fetchone()
            if used is not None:
                raise CatalogUnusable(f"{self.place} holds a catalogue already; name an empty database")
        elif found.state == "moved":
            raise CatalogUnusable(
                f"{self.place} holds a catalogue that has moved to {found.other}; name an empty database"
            )
        elif (found.lake, found.other) != (mark.lake, mark.other):
            raise CatalogUnusable(
                f"another catalogue is arriving in {self.place}, from {found.other}; name an empty database"
            )
        elif found.storage != mark.storage:
            raise CatalogUnusable(
                f"the migration was begun with blobs in {found.storage}, and ENTREPOT_STORAGE is {mark.storage} now; "
                "blobs are not moved: set it as it was"
            )

    def begin(self, mark: MigrationMark) -> None:
        with connect_postgres(self._address) as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key("schema"),))
            self._check_free(connection, mark)
            try:
                make_schema(connection)
            except psycopg.errors.InsufficientPrivilege as error:
                raise CatalogUnusable(f"{self.place}: {str(error).partition(chr(10))[0]}") from None
            connection.execute(_comment(mark.to_text()))

    def open_state(self) -> State:
        return SharedRows(PostgresDatabase(self._address, is_arriving=self._is_target))

    @contextmanager
    def freeze(self, state: State) -> Iterator[None]:
        with state.holdings.transaction() as transaction:
            transaction.execute(f"LOCK TABLE {', '.join(f'{SCHEMA}.{table}' for table in _FROZEN)} IN EXCLUSIVE MODE")
            self._transaction = transaction
            try:
                yield
            finally:
                self._transaction = None

    def set_moved(self, mark: MigrationMark, snapshot: int) -> None:
        """Have triggers refuse each change, also one of a process that began before."""
        assert self._transaction is not None
        text = f"the catalogue {self.place} has moved to {mark.other} and takes no changes"
        self._transaction.execute(_REFUSAL)
        for table in (*(f"{SCHEMA}.{name}" for name in _FROZEN), "public.ducklake_snapshot"):
            self._transaction.execute(
                f"CREATE OR REPLACE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH STATEMENT "
                f"EXECUTE FUNCTION {SCHEMA}.refuse_change({_literal(text)})"
            )
        # Triggers lock the table against others: from here on no snapshot comes.
        if self._transaction.execute("SELECT max(snapshot_id) FROM public.ducklake_snapshot").fetchone() != (snapshot,):
            raise CatalogUnusable(f"{self.place} was written while it was held; nothing was moved, try again")
        self._transaction.execute(f"COMMENT ON SCHEMA {SCHEMA} IS {_literal(mark.to_text())}")

    def finish(self) -> None:
        with connect_postgres(self._address) as connection:
            found = self._mark(connection)
            if found is not None and found.state == "arriving":
                connection.execute(_comment(None))


def _comment(text: str | None) -> sql.Composed:
    return sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(SCHEMA), sql.Literal(text))


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)
