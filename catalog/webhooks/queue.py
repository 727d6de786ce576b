"""The queue between us and others: events of hooks, flow runs to start, and the progress of deliveries to subscribers.

Rows that come and go, in a small database beside the catalogue (docs/adr/0011-events.md): a SQLite file, or PostgreSQL.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from catalog.database.engine import Database, Schema, Transaction
from catalog.database.migration_mark import Allow, MarkFile
from catalog.database.sqlite import SqliteDatabase
from catalog.settings import Settings
from catalog.state.shared_state import SharedState
from oci.errors import CatalogUnusable

_SQLITE = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, hook TEXT NOT NULL, action TEXT NOT NULL, repository TEXT NOT NULL,
    tag TEXT NOT NULL, digest TEXT NOT NULL, received_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS seen (
    hook TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (hook, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
CREATE TABLE IF NOT EXISTS runs (
    key TEXT PRIMARY KEY, hook TEXT NOT NULL, deployment TEXT NOT NULL, parameters TEXT NOT NULL,
    attempts INTEGER NOT NULL, next_at REAL NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (
    subscription TEXT PRIMARY KEY, position INTEGER NOT NULL, told INTEGER NOT NULL, since REAL NOT NULL,
    delivered INTEGER NOT NULL, failures INTEGER NOT NULL, error TEXT NOT NULL);
"""
_POSTGRESQL = """
CREATE TABLE events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, hook TEXT NOT NULL, action TEXT NOT NULL,
    repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, received_at DOUBLE PRECISION NOT NULL);
CREATE TABLE seen (
    hook TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (hook, key));
CREATE INDEX seen_at ON seen (at);
CREATE TABLE runs (
    key TEXT PRIMARY KEY, hook TEXT NOT NULL, deployment TEXT NOT NULL, parameters TEXT NOT NULL,
    attempts BIGINT NOT NULL, next_at DOUBLE PRECISION NOT NULL, created_at DOUBLE PRECISION NOT NULL);
CREATE TABLE cursors (
    subscription TEXT PRIMARY KEY, position BIGINT NOT NULL, told BIGINT NOT NULL, since DOUBLE PRECISION NOT NULL,
    delivered BIGINT NOT NULL, failures BIGINT NOT NULL, error TEXT NOT NULL);
CREATE TABLE queue_mark (number BIGINT NOT NULL);
INSERT INTO queue_mark VALUES (1)
"""
QUEUE_SCHEMA = Schema("webhooks", (_SQLITE,), (_POSTGRESQL,))
_LOCK = "webhooks queue"
_ALL = 2**63 - 1
"""A limit that is none, for both engines."""
_AT_ONCE = 500
"""Events that one statement deletes."""
MOST_WAITING = 10_000
"""Events, and runs, that may wait; beyond that the oldest are dropped."""
SAME_WITHIN = 60.0
"""Seconds in which a tag that is pushed again with the same digest is the same event told twice."""
_REMEMBERED = 3600.0
"""Seconds for which an event's id is known."""

Action = Literal["push", "delete", "many"]


@dataclass(frozen=True, slots=True)
class UpstreamEvent:
    """What an upstream tells: a tag was pushed or deleted, or `many` were; `tag`, `digest` and `event_id` may be empty."""

    repository: str
    tag: str = ""
    digest: str = ""
    action: Action = "push"
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that a hook took in; times are Unix seconds."""

    id: int
    hook: str
    pushed: UpstreamEvent
    received_at: float


@dataclass(frozen=True, slots=True)
class Run:
    """A flow run to be started; `key` makes a second try find the first."""

    key: str
    hook: str
    deployment: str
    parameters: Mapping[str, Any]
    created_at: float
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Enqueued:
    """How many incoming events were enqueued, how many were known already, and how many older ones were dropped."""

    kept: int
    known: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Progress of deliveries to a subscriber: all commits up to `position`, and `told` events of the next."""

    position: int
    told: int
    since: datetime
    delivered: int = 0
    failures: int = 0
    error: str = ""


def events_file(settings: Settings) -> Path:
    """Return the path of the queue's database."""
    return settings.root / "events.sqlite"


class EventQueue:
    """The database; usable from any thread and process, durable when a method returns."""

    def __init__(self, database: Database, mark: Callable[[], int] | None = None) -> None:
        """`mark` is quicker than the one that is counted in the database."""
        self._database, self._quick_mark = database, mark

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with _usable(), self._database.transaction([_LOCK]) as connection:
            yield connection
            if self._quick_mark is None:
                connection.execute("UPDATE queue_mark SET number = number + 1")

    def _read(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with _usable():
            return self._database.rows(sql, parameters)

    def mark(self) -> int:
        """Return a number that changes with every write of any process; some microseconds, or one question."""
        if self._quick_mark is None:
            return int(self._read("SELECT number FROM queue_mark")[0][0])
        with _usable():
            return self._quick_mark()

    # --- events in ---

    def enqueue(self, hook: str, events: Iterable[UpstreamEvent], now: float) -> Enqueued:
        """Keep events that are not known yet; durable on return."""
        kept = known = 0
        with self._transaction() as database:
            database.execute("DELETE FROM seen WHERE at < ?", [now - _REMEMBERED])
            for one in events:
                if _is_known(database, hook, one, now):
                    known += 1
                    continue
                kept += 1
                database.execute(
                    "INSERT INTO events (hook, action, repository, tag, digest, received_at) VALUES (?, ?, ?, ?, ?, ?)",
                    [hook, one.action, one.repository, one.tag, one.digest, now],
                )
            dropped = _bound(database, "events", "id", "id")
        return Enqueued(kept, known, dropped)

    def waiting(self) -> list[Waiting]:
        """Return the waiting events, as they came."""
        rows = self._read("SELECT id, hook, repository, tag, digest, action, received_at FROM events ORDER BY id")
        return [Waiting(key, hook, UpstreamEvent(*pushed), at) for key, hook, *pushed, at in rows]

    def plan(self, runs: Iterable[Run], done: Sequence[int]) -> int:
        """Put runs in the place of the events `done`, all at once; return how many older runs were dropped.

        Does nothing when one of the events is gone: another process has planned it, or its hook was removed.
        """
        rows = [
            (one.key, one.hook, one.deployment, json.dumps(one.parameters), one.created_at, one.created_at)
            for one in runs
        ]
        try:
            with self._transaction() as database:
                _delete_events(database, done)
                database.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, 0, ?, ?)", rows)
                return _bound(database, "runs", "key", "created_at")
        except _EventGone:
            return 0

    def due(self, now: float) -> tuple[list[Run], float | None]:
        """Return the runs that are due, oldest first, and when the next of the others is."""
        rows = self._read(
            "SELECT key, hook, deployment, parameters, created_at, attempts FROM runs WHERE next_at <= ? "
            "ORDER BY created_at LIMIT 100",
            [now],
        )
        later = self._read("SELECT min(next_at) FROM runs WHERE next_at > ?", [now])[0][0]
        runs = [Run(key, hook, name, json.loads(text), at, attempts) for key, hook, name, text, at, attempts in rows]
        return runs, later

    def postpone(self, run: Run, until: float) -> None:
        """Postpone a run to a later try."""
        with self._transaction() as database:
            database.execute("UPDATE runs SET attempts = attempts + 1, next_at = ? WHERE key = ?", [until, run.key])

    def finish(self, run: Run) -> None:
        """Delete a run that was started or never will be."""
        with self._transaction() as database:
            database.execute("DELETE FROM runs WHERE key = ?", [run.key])

    def forget_hook(self, hook: str) -> None:
        """Delete all events and runs of a hook."""
        with self._transaction() as database:
            for table in ("events", "runs", "seen"):
                database.execute(f"DELETE FROM {table} WHERE hook = ?", [hook])

    def backlog(self, hook: str) -> tuple[int, int]:
        """Return how many events and runs of a hook wait."""
        counts = (self._read(f"SELECT count(*) FROM {table} WHERE hook = ?", [hook]) for table in ("events", "runs"))
        events, runs = (rows[0][0] for rows in counts)
        return events, runs

    # --- events out ---

    def begin(self, subscription: str, position: int, now: datetime) -> None:
        """Begin deliveries to a subscriber after a position."""
        with self._transaction() as database:
            database.execute("DELETE FROM cursors WHERE subscription = ?", [subscription])
            database.execute(
                "INSERT INTO cursors VALUES (?, ?, 0, ?, 0, 0, '')",
                [subscription, position, now.timestamp()],
            )

    def cursor(self, subscription: str) -> Cursor | None:
        """Return how far deliveries to a subscriber have come."""
        rows = self._read(
            "SELECT position, told, since, delivered, failures, error FROM cursors WHERE subscription = ?",
            [subscription],
        )
        return next(
            (Cursor(at, told, datetime.fromtimestamp(since, UTC), *rest) for at, told, since, *rest in rows), None
        )

    def move(self, subscription: str, cursor: Cursor) -> None:
        """Store how far deliveries have come; a subscriber that was removed meanwhile stays removed."""
        with self._transaction() as database:
            database.execute(
                "UPDATE cursors SET position = ?, told = ?, since = ?, delivered = ?, failures = ?, error = ? "
                "WHERE subscription = ?",
                [
                    cursor.position, cursor.told, cursor.since.timestamp(), cursor.delivered, cursor.failures,
                    _storable(cursor.error), subscription,
                ],
            )  # fmt: skip

    def end(self, subscription: str) -> None:
        """Delete a subscriber's progress."""
        with self._transaction() as database:
            database.execute("DELETE FROM cursors WHERE subscription = ?", [subscription])

    def close(self) -> None:
        """Close the file; a shared database is closed by whoever has opened it."""
        if not self._database.is_shared:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _usable() -> Iterator[None]:
    """Raise CatalogUnusable for an error of SQLite."""
    try:
        yield
    except sqlite3.Error as error:
        raise CatalogUnusable(f"the queue of events cannot be used: {error}") from error


def open_queue(settings: Settings, state: SharedState | None = None) -> EventQueue:
    """Return the installation's queue: a file of the home, or tables that all machines share."""
    if state is None:
        allow = MarkFile(settings.catalog_file).check
        return open_queue_file(events_file(settings), busy_timeout=settings.lock_timeout, allow=allow)
    state.database.migrate(QUEUE_SCHEMA)
    return EventQueue(state.database)


def open_queue_file(file: Path, *, busy_timeout: float = 60.0, allow: Allow | None = None) -> EventQueue:
    """Return the queue in a file, which its owner alone may read."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    with _usable():
        database = SqliteDatabase(file, QUEUE_SCHEMA, busy_timeout=busy_timeout, one_reader=True, allow=allow)
    return EventQueue(database, database.mark)


class _EventGone(Exception):  # nobody is told of it
    """An event that was to be planned is gone."""


def _delete_events(database: Transaction, keys: Sequence[int]) -> None:
    """Delete events; raise _EventGone unless all are there."""
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        if database.execute(f"DELETE FROM events WHERE id IN ({marks})", some).rowcount != len(some):
            raise _EventGone


def _storable(text: str) -> str:
    """Return a text of others as both engines take it: NUL and halves of surrogates as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _is_known(database: Transaction, hook: str, one: UpstreamEvent, now: float) -> bool:
    """Return whether an event came before, by its id or as the last of its tag; then remember it."""
    known = False
    if one.event_id:
        key = f"id {_storable(one.event_id)}"
        known = _seen(database, hook, key, now) is not None
        _remember(database, hook, key, "", now)
    if one.digest and one.action != "many":
        key, content = f"tag {one.repository}:{one.tag}", f"{one.action} {one.digest}"
        last = _seen(database, hook, key, now - SAME_WITHIN)
        known = known or last == content
        if not known:
            _remember(database, hook, key, content, now)
    return known


def _seen(database: Transaction, hook: str, key: str, since: float) -> str | None:
    row = database.execute("SELECT digest, at FROM seen WHERE hook = ? AND key = ?", [hook, key]).fetchone()
    return None if row is None or (key.startswith("tag ") and row[1] < since) else str(row[0])


def _remember(database: Transaction, hook: str, key: str, content: str, now: float) -> None:
    database.execute(
        "INSERT INTO seen VALUES (?, ?, ?, ?) ON CONFLICT (hook, key) DO UPDATE SET digest = excluded.digest, at = excluded.at",
        [hook, key, content, now],
    )


def _bound(database: Transaction, table: str, key: str, order: str) -> int:
    """Drop the oldest rows beyond the limit; return how many."""
    return database.execute(
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} ORDER BY {order} DESC LIMIT {_ALL} OFFSET ?)",
        [MOST_WAITING],
    ).rowcount
