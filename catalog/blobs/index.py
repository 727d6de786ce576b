"""The record of which blobs are held, and which repository may use one before a version holds it.

A small SQLite database beside the lake: one row per blob is looked up on each request and written on each upload, which a
lakehouse table is not made for (docs/adr/0002-holdings.md).
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from catalog.blobs.ingest_queue import Ingest
from catalog.disk_reserve import Room, no_room
from oci.digest import Digest
from oci.errors import CatalogUnusable

_MIGRATIONS = (
    """
CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, ingested_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (
    repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, linked_at REAL NOT NULL,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_digest ON links (digest);
""",
    # `read_at`: when a scrub last found the bytes right; `vouched_at`: the lake's snapshot as of which a version held it.
    # `leaving`: blobs that are given up and whose bytes are still to be removed.
    """
ALTER TABLE blobs ADD COLUMN read_at REAL;
ALTER TABLE blobs ADD COLUMN vouched_at INTEGER;
CREATE TABLE leaving (digest TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE quarantine (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, reason TEXT NOT NULL, found_at REAL NOT NULL, healed_at REAL
) WITHOUT ROWID;
CREATE TABLE marks (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
""",
    # `taken_by`: the repository that brought a blob first. `deliveries`: the registries (scheme, host, port) that have sent a
    # blob whole, verified: what such a one says of the blob later is believed, for it has it.
    """
ALTER TABLE blobs ADD COLUMN taken_by TEXT;
CREATE TABLE deliveries (
    digest TEXT NOT NULL, origin TEXT NOT NULL, PRIMARY KEY (digest, origin)
) WITHOUT ROWID;
""",
)
"""Each entry takes the schema from its index to the next number."""

_SCHEMA_VERSION = len(_MIGRATIONS)
_LINKS = 100_000
"""Leases looked at in one step."""

_PATIENT_SECONDS = 0.05
"""How long bytes are removed before uploads get their turn."""


@dataclass(frozen=True, slots=True)
class Link:
    """A lease: `repository` may use the blob; `media_type` is set for manifests. `linked_at` is in Unix seconds."""

    repository: str
    digest: Digest
    media_type: str
    linked_at: float


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """A blob that is held, and its size in bytes."""

    digest: Digest
    size: int


class BlobIndex:
    """The database; usable from any thread, durable when a method returns."""

    def __init__(self, file: Path, *, busy_timeout: float = 60.0, room: Room | None = None) -> None:
        self._file, self._busy_timeout, self._room = file, busy_timeout, room
        self._connections: list[sqlite3.Connection] = []
        self._local = threading.local()
        self._writing, self._opening = threading.Lock(), threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._migrate(self._connection())

    def _migrate(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > _SCHEMA_VERSION:
            raise CatalogUnusable(f"{self._file} was written by a newer release (schema {found}); upgrade entrepot")
        while found < _SCHEMA_VERSION:
            with self.transaction():  # another process may have been quicker
                found = connection.execute("PRAGMA user_version").fetchone()[0]
                if found < _SCHEMA_VERSION:
                    for statement in filter(str.strip, _MIGRATIONS[found].split(";")):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {found + 1}")

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with self._opening:
            self._connections.append(connection)
        return connection

    @cached_property
    def _ingesting(self) -> sqlite3.Connection:
        """The one connection of ingests: it keeps the pages that it wrote, which threads with one each would read again."""
        return self._open()

    def size(self, digest: str) -> int | None:
        """Bytes of a blob that is held, None for one that is not."""
        row = self._connection().execute("SELECT size FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else int(row[0])

    def ingested(self, digest: str) -> tuple[int, float] | None:
        """Bytes of a blob that is held, and since when in Unix seconds; None for one that is not."""
        row = self._connection().execute("SELECT size, ingested_at FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else (int(row[0]), float(row[1]))

    def link(self, repository: str, digest: str) -> Link | None:
        """The repository's lease on a blob that is held."""
        row = (
            self._connection()
            .execute(
                "SELECT media_type, linked_at FROM links WHERE repository = ? AND digest = ?", (repository, digest)
            )
            .fetchone()
        )
        return None if row is None else Link(repository, Digest(digest), row[0], row[1])

    def origins(self, digest: str) -> frozenset[str]:
        """The registries that have sent a blob whole."""
        rows = self._connection().execute("SELECT origin FROM deliveries WHERE digest = ?", (digest,))
        return frozenset(row[0] for row in rows)

    def taken_by(self, digest: str) -> str | None:
        """The repository that brought a blob that is held first, or of those that are public one that has it, where known."""
        row = self._connection().execute("SELECT taken_by FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else row[0]

    def set_taken_by(self, digest: str, repository: str) -> None:
        """Name another repository that has a blob."""
        with self.transaction() as connection:
            connection.execute("UPDATE blobs SET taken_by = ? WHERE digest = ?", (repository, digest))

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a question."""
        return self._connection().execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change the database, alone among all threads and processes; undone when an error leaves it."""
        with self._transaction(self._connection()) as connection:
            yield connection

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        with self._writing:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                connection.rollback()
                if isinstance(error, sqlite3.OperationalError) and self._room is not None and self._room.is_full():
                    self._room.throw_off()
                    raise no_room(self._file.parent) from error
                raise

    def ingest(self, ingests: Sequence[Ingest], settle: Callable[[Sequence[Digest]], None]) -> None:
        """Put blobs in their places, make them durable, say that they are held, and that their repositories may use them.

        All that is one write transaction, so that no sweep takes away what has just been put down. `settle` makes durable what
        was placed. A blob that cannot be placed gets the error and the others go on; any other error is raised, and none is held.
        """
        with self._transaction(self._ingesting) as connection:
            placed: list[Ingest] = []
            for one in ingests:
                try:
                    one.place()
                except Exception as error:  # noqa: BLE001  # handed to whoever waits for it
                    one.error = error
                else:
                    placed.append(one)
            settle([one.digest for one in placed])
            for one in placed:
                self._write_ingest(connection, one)

    def _write_ingest(self, connection: sqlite3.Connection, one: Ingest) -> None:
        connection.execute(
            "INSERT INTO blobs (digest, size, ingested_at, taken_by) VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
            (one.digest, one.size, one.now, one.repository),
        )
        if one.origin:
            connection.execute("INSERT OR IGNORE INTO deliveries VALUES (?, ?)", (one.digest, one.origin))
        connection.execute(
            "UPDATE quarantine SET healed_at = ? WHERE digest = ? AND healed_at IS NULL", (one.now, one.digest)
        )
        self._write_link(connection, one.repository, one.digest, one.media_type, one.now)

    def add_link(self, repository: str, digest: str, *, media_type: str, now: float) -> bool:
        """Lease a blob to the repository; False, and no lease, when the blob is not held."""
        with self.transaction() as connection:
            held = connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone() is not None
            if held:
                self._write_link(connection, repository, digest, media_type, now)
        return held

    @staticmethod
    def _write_link(connection: sqlite3.Connection, repository: str, digest: str, media_type: str, now: float) -> None:
        connection.execute(
            "INSERT INTO links VALUES (?, ?, ?, ?) ON CONFLICT (repository, digest) DO UPDATE SET linked_at = "
            "excluded.linked_at, media_type = iif(excluded.media_type = '', media_type, excluded.media_type)",
            (repository, digest, media_type, now),
        )

    def repositories_of(self, digest: str) -> set[str]:
        """Return which repositories hold a lease on the blob."""
        rows = self._connection().execute("SELECT repository FROM links WHERE digest = ?", (digest,))
        return {row[0] for row in rows}

    def totals(self) -> tuple[int, int]:
        """Return how many blobs are held, and their bytes."""
        row = self._connection().execute("SELECT count(*), coalesce(sum(size), 0) FROM blobs").fetchone()
        return int(row[0]), int(row[1])

    def without_lease(self, blobs: Iterable[BlobRecord], *, since: float) -> list[BlobRecord]:
        """Those of the blobs that no repository has leased since a Unix time."""
        connection = self._connection()
        return [blob for blob in blobs if not _is_leased(connection, blob.digest, since)]

    def links(self, digest: Digest, *, since: float = 0.0) -> list[Link]:
        """The leases on a blob that are not older than a Unix time, the oldest first."""
        rows = self.rows(
            "SELECT repository, media_type, linked_at FROM links WHERE digest = ? AND linked_at >= ? ORDER BY linked_at",
            (digest, since),
        )
        return [Link(repository, digest, media_type, linked_at) for repository, media_type, linked_at in rows]

    def give_up(self, blobs: Iterable[BlobRecord], *, since: float) -> list[BlobRecord]:
        """Forget blobs and their old leases; return those of which that was done: the others were leased since a Unix time, or
        are not held. Their bytes stay until `remove_left`.

        The record goes first and for good: were the bytes to go first, a process killed between the two would leave a blob that
        counts as held and is not there.
        """
        given_up: list[BlobRecord] = []
        with self.transaction() as connection:
            for blob in blobs:
                if _is_leased(connection, blob.digest, since):
                    continue
                connection.execute("DELETE FROM links WHERE digest = ?", (blob.digest,))
                connection.execute("DELETE FROM deliveries WHERE digest = ?", (blob.digest,))
                if connection.execute("DELETE FROM blobs WHERE digest = ?", (blob.digest,)).rowcount > 0:
                    connection.execute("INSERT OR REPLACE INTO leaving VALUES (?, ?)", (blob.digest, blob.size))
                    given_up.append(blob)
        return given_up

    def remove_left(self, delete: Callable[[Digest], None]) -> None:
        """Remove the bytes of all that was given up, by this process or one that was killed; not of what has come in again.

        Each hold of the database lasts moments, so that uploads get their turn.
        """
        while self.rows("SELECT 1 FROM leaving LIMIT 1"):
            with self.transaction() as connection:
                started = time.monotonic()
                for (digest,) in connection.execute("SELECT digest FROM leaving LIMIT 200").fetchall():
                    if connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone() is None:
                        delete(Digest(digest))
                    connection.execute("DELETE FROM leaving WHERE digest = ?", (digest,))
                    if time.monotonic() - started > _PATIENT_SECONDS:
                        break

    def drop_link(self, repository: str, digest: str) -> bool:
        """Let go of one lease; False when there is none."""
        with self.transaction() as connection:
            ended = connection.execute("DELETE FROM links WHERE repository = ? AND digest = ?", (repository, digest))
        return ended.rowcount > 0

    def old_links(self, *, before: float) -> Iterator[list[tuple[str, Digest]]]:
        """Leases older than a Unix time, some at a time: repositories and digests."""
        last = ("", "")
        while rows := self.rows(
            "SELECT repository, digest FROM links WHERE (repository, digest) > (?, ?) AND linked_at < ? "
            "ORDER BY repository, digest LIMIT ?",
            (*last, before, _LINKS),
        ):
            yield [(name, Digest(digest)) for name, digest in rows]
            last = rows[-1]

    def drop_links(self, links: Iterable[tuple[str, str]], *, before: float) -> None:
        """Let go of those leases that are still older than a Unix time."""
        with self.transaction() as connection:
            connection.executemany(
                "DELETE FROM links WHERE repository = ? AND digest = ? AND linked_at < ?",
                [(name, digest, before) for name, digest in links],
            )

    def renew_links(self, links: Iterable[tuple[str, str]], *, now: float) -> None:
        """Make leases young again."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE links SET linked_at = ? WHERE repository = ? AND digest = ?",
                [(now, name, digest) for name, digest in links],
            )

    def grant(self, links: Iterable[tuple[str, str]]) -> None:
        """Let repositories use blobs by leases of no date: they keep no bytes, and stay as long as versions name the blobs."""
        with self.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO links VALUES (?, ?, '', 0)", list(links))

    def end_links(self, repository: str) -> None:
        """Let go of all leases of a repository that is no more."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM links WHERE repository = ?", (repository,))

    def linked(self, repository: str) -> dict[Digest, int]:
        """The blobs that are held and leased to a repository, with their sizes."""
        rows = self.rows(
            "SELECT links.digest, size FROM links JOIN blobs USING (digest) WHERE repository = ?", (repository,)
        )
        return {Digest(digest): size for digest, size in rows}

    def mark(self, name: str) -> float | None:
        """Return a number that maintenance has noted."""
        found = self.rows("SELECT value FROM marks WHERE name = ?", (name,))
        return float(found[0][0]) if found else None

    def set_mark(self, name: str, value: float | None) -> None:
        """Note a number, or forget it."""
        with self.transaction() as connection:
            if value is None:
                connection.execute("DELETE FROM marks WHERE name = ?", (name,))
            else:
                connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Close every thread's connection."""
        with self._opening:
            for connection in self._connections:
                connection.close()
            self._connections.clear()


def _is_leased(connection: sqlite3.Connection, digest: str, since: float) -> bool:
    row = connection.execute("SELECT 1 FROM links WHERE digest = ? AND linked_at >= ?", (digest, since)).fetchone()
    return row is not None
