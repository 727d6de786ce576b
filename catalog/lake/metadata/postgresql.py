"""The metadata catalogue in PostgreSQL, shared by any number of processes and machines.

One session of ours holds an advisory lock from before a write begins until it has ended. Direct commits run on that session: who
has lost the lock cannot commit. DuckDB's transactions run on sessions of its own; `pin` and the primary key of
`ducklake_snapshot` refuse what does not build on the newest snapshot, so that a lost lock loses no commit either
(docs/adr/0021-postgresql.md). A trigger tells all listeners of each snapshot.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import duckdb
import psycopg

from catalog.database.listener import CHANNEL, Listener, Rows
from catalog.database.migration_mark import MARK_SQL, parse_mark
from catalog.database.postgresql import SCHEMA, PostgresDatabase, connect_postgres, connection_error, lock_key
from catalog.lake.direct.append import Append
from catalog.lake.direct.postgresql_session import PostgresSession
from catalog.lake.direct.supervisor import WorkerDied
from catalog.lake.direct.transaction import Bookkeeping, DirectCommit
from catalog.lake.metadata.attachment import POSTGRES, attach_postgres, make_data_secret
from catalog.lake.metadata.data import LakeData
from catalog.lake.metadata.engine import META, Read, Row, newer_schema
from catalog.lake.metadata.loop_connection import NEWEST, LoopConnection
from catalog.lake.metadata.position import Confirmer, SnapshotPosition, went_back
from oci.errors import CatalogBusy, CatalogUnavailable, LocalError

log = logging.getLogger("catalog")
RENEWED_EVERY = 30.0
"""Seconds in which credentials for S3 are looked at once at most; boto3 renews those of a role ten minutes before they end."""
_LOCK = lock_key("catalogue")
_UNLOCK = f"SELECT pg_advisory_unlock({_LOCK})"
_HOLDERS = """SELECT pid, coalesce(application_name, ''), coalesce(host(client_addr), 'this machine')
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND ((classid::bigint << 32) | objid::bigint) = ?"""
_SESSION = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "default_transaction_isolation": r"read\ committed",
}
"""The server gives up the lock of a machine that was cut off after some 25 seconds. What travels with the wish for the lock sees
what was committed before the lock was given, whatever the database has as its default."""
_MAY_WRITE = f"SELECT ({MARK_SQL}), (SELECT number FROM {SCHEMA}.schema_versions WHERE name = 'lake')"
"""Asks for the mark, and for the number of the lake's schema that a process must know to write; none: any."""
_BASE = f"{_MAY_WRITE}, ({NEWEST})"
"""Asks for the newest snapshot besides."""
_REFUSE_OLDER = f"""INSERT INTO {SCHEMA}.schema_versions VALUES ('lake', %s)
ON CONFLICT (name) DO UPDATE SET number = greatest(schema_versions.number, excluded.number)"""
_NEXT = "snapshot "
"""What a notification of a snapshot begins with; its number follows. Earlier releases say nothing, and ask for it."""
_DIGITS, _NEXT_AT_MOST = 18, 1000
"""A number of more digits, or so far above what is known, is not believed."""
_TELLS = f"""SELECT 1 FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE tgname = 'tell_of_snapshot' AND prosrc LIKE '%{_NEXT}%'"""
_TRIGGER = f"""
CREATE OR REPLACE FUNCTION {SCHEMA}.tell_of_snapshot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('{CHANNEL}', '{_NEXT}' || NEW.snapshot_id);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER tell_of_snapshot AFTER INSERT ON public.ducklake_snapshot
FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.tell_of_snapshot()"""


def write_lock_holders(database: PostgresDatabase) -> list[str]:
    """Return who holds the write lock, in words; one query."""
    return [f"session {pid} ({name} of {host})" for pid, name, host in database.rows(_HOLDERS, [_LOCK])]


class PostgresMetadata:
    """See `engine.Metadata`."""

    is_shared = True

    def __init__(
        self, database: PostgresDatabase, data: LakeData, *, lock_timeout: float, listener: Listener | None = None
    ) -> None:
        self._database, self.address, self.data = database, database.address, data
        self._lock_timeout = lock_timeout
        self.extensions = (*POSTGRES, *data.extensions)
        self._connection: psycopg.Connection[Any] | None = None
        self._base, self._schema = 0, 0
        self._is_locked = False
        self.sequence = SnapshotPosition()
        self.worker = _DirectWriter(self)
        self._loop_connection = LoopConnection(self.address, self.sequence)
        self._confirmer = Confirmer(self._ask_newest)
        self._listener = listener
        self._renewing, self._renew_at = threading.Lock(), time.monotonic() + RENEWED_EVERY

    @property
    def place(self) -> str:
        return self.address.place

    def attach(self, connection: duckdb.DuckDBPyConnection, *, inlined_rows: int, schema: int) -> None:
        self._schema = schema
        self.attach_anew(connection, inlined_rows=inlined_rows)
        with self._database.transaction() as transaction:
            if transaction.execute(_TELLS).fetchone() is None:
                transaction.execute(_TRIGGER)
        self.confirm()
        if self._listener is not None:
            self._listener.watch(self._look, take=self._take)

    def attach_anew(self, connection: duckdb.DuckDBPyConnection, *, inlined_rows: int) -> None:
        attach_postgres(connection, self.address, self.data, options=f", DATA_INLINING_ROW_LIMIT {inlined_rows}")

    def renew(self, connection: duckdb.DuckDBPyConnection) -> None:
        if self.data.renew is None or time.monotonic() < self._renew_at or not self._renewing.acquire(blocking=False):
            return
        try:
            self._renew_at = time.monotonic() + RENEWED_EVERY
            secret = self.data.renew()
            if secret != self.data.secret:
                self.data = replace(self.data, secret=secret)
                with connection.cursor() as cursor:  # a transaction under way has nothing to do with it
                    make_data_secret(cursor, self.data)
        except LocalError as error:
            log.warning("cannot renew the credentials for the rows of the catalogue error=%s", error)
        finally:
            self._renewing.release()

    @contextmanager
    def lock(self, *, changes: bool = False) -> Iterator[None]:
        known = self.sequence.value // 2
        connection, base = self._take_lock(changes)
        self._is_locked = True
        try:
            if base is not None:
                self._check_mark(*base[:2])
                self._build_on(base[2], known)
            yield
        finally:
            try:
                if self._is_locked:
                    connection.execute(_UNLOCK)
            except psycopg.Error:
                connection.close()

    def _take_lock(self, changes: bool) -> "tuple[psycopg.Connection[Any], Any]":
        """Return the session that holds the lock; with `changes`, what `_BASE` says."""
        try:
            return self._locked_connection(changes)
        except psycopg.errors.LockNotAvailable:
            raise CatalogBusy(
                f"another process has held the write lock of {self.place} for {self._lock_timeout:g} s; "
                "find it in pg_locks (locktype advisory), or raise ENTREPOT_LOCK_TIMEOUT"
            ) from None
        except psycopg.OperationalError as error:
            raise connection_error(self.address, error) from error

    def _locked_connection(self, changes: bool) -> "tuple[psycopg.Connection[Any], Any]":
        if self._connection is not None and not self._connection.closed:
            try:
                return self._connection, self._wait_for_lock(self._connection, changes)
            except psycopg.errors.LockNotAvailable:
                raise
            except psycopg.OperationalError:  # the server has ended it since
                self._connection.close()
        milliseconds = str(int(self._lock_timeout * 1000))
        self._connection = connect_postgres(self.address, purpose="writer", lock_timeout=milliseconds, **_SESSION)
        self.worker.forget()
        return self._connection, self._wait_for_lock(self._connection, changes)

    def _wait_for_lock(self, connection: "psycopg.Connection[Any]", changes: bool) -> Any:
        """Take the lock, and ask `_BASE` where there are to be changes; raise LockNotAvailable after the timeout.

        The server takes a timeout of 0 ms for none at all. The question travels with the wish for the lock, and is answered when
        the lock is there. Who fails gives the session up, and a lock with it.
        """
        if self._lock_timeout < 0.001:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
            if not (row and row[0]):
                raise psycopg.errors.LockNotAvailable
            return connection.execute(_BASE).fetchone() if changes else None
        try:
            with connection.pipeline():
                answer = connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
                if changes:
                    answer = connection.execute(_BASE)
            return answer.fetchone() if changes else None
        except BaseException:
            connection.close()
            raise

    def _look(self, rows: Rows, is_new: bool) -> None:  # noqa: ARG002  # what is known only grows
        """Learn of commits, on the listener's thread; raise CatalogUnavailable."""
        known = self.sequence.certain
        self.sequence.learn(int(rows(NEWEST, ())[0][0] or 0), known, self.place)

    def _take(self, payload: str) -> bool:
        """Learn of a commit by its notification, on the listener's thread."""
        number = payload.removeprefix(_NEXT)
        if number == payload or not (number.isascii() and number.isdecimal()) or len(number) > _DIGITS:
            return False
        if (
            int(number) > self.sequence.value // 2 + _NEXT_AT_MOST
        ):  # whoever may connect may notify: the database is asked
            return False
        self.sequence.believe(int(number))
        return True

    def check_mark(self) -> None:
        row = self.lock_connection.execute(_MAY_WRITE).fetchone()
        self._check_mark(*(row or (None, None)))

    def _check_mark(self, text: str | None, needed: int | None) -> None:
        mark = parse_mark(text, self.place)
        if mark is not None and (mark.state == "moved" or not self._database.is_arriving):
            mark.check(self.place)
        if needed is not None and needed > self._schema:
            raise newer_schema(self.place, needed)

    def check_newer(self, found: int) -> None:  # noqa: ARG002  # what matters is what the newest release asks of others
        self.check_mark()

    def refuse_older(self, number: int) -> None:
        self.lock_connection.execute(_REFUSE_OLDER, (number,))

    def begin(self) -> int:
        return self._base * 2

    def hold(self) -> None:
        known = self.sequence.value // 2
        self._build_on(self._ask_newest(), known)

    def _build_on(self, newest: int | None, known: int) -> None:
        """Build on the newest snapshot; raise CatalogUnavailable where it is older than what was known before."""
        self._base = newest or 0
        if self._base < known:
            raise went_back(self.place, known, self._base)
        self.sequence.learn(self._base, 0, self.place)

    def check_held(self) -> None:
        try:
            self.lock_connection.execute("SELECT 1")
        except psycopg.OperationalError:
            raise self.overtaken() from None

    def pin(self, connection: duckdb.DuckDBPyConnection) -> None:
        row = connection.execute("FROM ducklake_current_snapshot('lake')").fetchone()
        if row is None or row[0] != self._base:
            raise self.overtaken()

    def overtaken(self) -> CatalogUnavailable:
        """Return the error of a write that lost the lock to another one."""
        return CatalogUnavailable(
            f"the connection to {self.place} was lost during a write; nothing was written: try again"
        )

    def cancel(self, before: int) -> None:
        """Do nothing: nobody was told that a write begins."""

    def finish(self, *, is_direct: bool) -> int:
        if is_direct:
            self.sequence.advance(self._base + 1)
            return (self._base + 1) * 2
        with suppress(CatalogUnavailable):  # then the listener tells
            self._ask_newest()
        return min(self.sequence.value, (self._base + 1) * 2)  # others wrote more where the lock was lost

    def heal(self) -> bool:
        """Do nothing: PostgreSQL undoes what a dead writer has begun."""
        return True

    def confirm(self) -> None:
        self._confirmer.confirm()

    @property
    def looked_at(self) -> float:
        return float("-inf") if self._listener is None else self._listener.looked_at

    def look(self) -> None:
        if self._listener is None:
            self.confirm()
        else:
            self._listener.look(self._database.rows)

    async def confirm_on_loop(self) -> None:
        await self._loop_connection.confirm()

    def _ask_newest(self) -> int:
        """Know the newest snapshot, and return it; raise CatalogUnavailable."""
        known = self.sequence.certain
        newest = int(self._database.rows(NEWEST)[0][0] or 0)
        self.sequence.learn(newest, known, self.place)
        return newest

    def has_landed(self, snapshot_id: int | None, note: str, read: Read) -> bool:
        sql = "SELECT 1 FROM {meta}ducklake_snapshot_changes WHERE snapshot_id = ? AND commit_extra_info = ?"
        deadline = time.monotonic() + self._lock_timeout
        while True:
            try:
                return bool(self.rows(sql, [snapshot_id or self._base + 1, note], read))
            except CatalogUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def rows(self, sql: str, parameters: Sequence[object], read: Read) -> list[Row]:  # noqa: ARG002  # DuckDB copies the columns
        return self._database.rows(sql.replace(META, "public."), parameters)

    def close(self) -> None:
        self._loop_connection.close()
        if self._connection is not None:
            self._connection.close()

    def note_unlocked(self) -> None:
        """Know that a direct commit has given the lock back: it was the last of its write."""
        self._is_locked = False

    @property
    def lock_connection(self) -> "psycopg.Connection[Any]":
        """Return the session that holds the lock."""
        assert self._connection is not None
        return self._connection


class _DirectWriter:
    """Writes on the session that holds the lock."""

    pid = None

    def __init__(self, metadata: PostgresMetadata) -> None:
        self._metadata = metadata
        self._bookkeeping: Bookkeeping | None = None

    def forget(self) -> None:
        """Take a new session for the next commit."""
        self._bookkeeping = None

    def start(self) -> None:
        """Do nothing: the session is there."""

    def is_ready(self, *, wait: float = 0) -> bool:  # noqa: ARG002
        return True

    def commit(self, token: int, appends: list[Append], author: str, text: str, note: str) -> int:
        base = token // 2

        def check(snapshot_id: int) -> None:
            if snapshot_id != base + 1:
                raise self._metadata.overtaken()

        if self._bookkeeping is None:
            self._bookkeeping = Bookkeeping(PostgresSession(self._metadata.lock_connection, after_commit=_UNLOCK))
        try:
            made = self._bookkeeping.commit(DirectCommit(appends, author, text, note), before=check)
        except psycopg.errors.ReadOnlySqlTransaction as error:  # the server has become a standby
            self._metadata.lock_connection.close()
            raise connection_error(self._metadata.address, error) from error
        except psycopg.Error as error:
            raise WorkerDied(base + 1) from error
        self._metadata.note_unlocked()
        return made

    def stop(self, *, now: bool = False) -> None:  # noqa: ARG002
        self.forget()
