"""The state that all machines share: one pool, one listener and one set of locks of a process."""

from typing import TYPE_CHECKING

from catalog.database.engine import Schema
from catalog.database.opening import open_postgres
from catalog.settings import Settings

if TYPE_CHECKING:
    from catalog.database.listener import Listener
    from catalog.database.postgresql import PostgresDatabase
    from catalog.database.session_locks import SessionLocks

STATE_SCHEMA = Schema(
    "state",
    (),
    (
        "CREATE TABLE documents (name TEXT PRIMARY KEY, version BIGINT NOT NULL, body TEXT NOT NULL)",
        "CREATE TABLE upstream_budgets (key TEXT PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE TABLE login_attempts (key TEXT PRIMARY KEY, tokens DOUBLE PRECISION NOT NULL, at DOUBLE PRECISION NOT NULL, "
        "full_at DOUBLE PRECISION NOT NULL); CREATE TABLE known_logins (key TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL)",
    ),
)


class SharedState:
    """One process's hold on it; usable from any thread."""

    def __init__(self, database: "PostgresDatabase", listener: "Listener", locks: "SessionLocks") -> None:
        self.database, self.listener, self.locks = database, listener, locks
        database.migrate(STATE_SCHEMA)

    def close(self) -> None:
        """Close all connections, which gives all locks back."""
        self.listener.close()
        self.locks.close()
        self.database.close()


def open_state(settings: Settings) -> SharedState | None:
    """Return the shared state, None when all state is in files; the caller closes it. Raise CatalogUnusable."""
    database = open_postgres(settings)
    if database is None:
        return None
    from catalog.database.listener import Listener  # they load psycopg
    from catalog.database.session_locks import SessionLocks

    try:
        return SharedState(database, Listener(database.address), SessionLocks(database.address))
    except BaseException:
        database.close()
        raise
