"""The record of which blobs are held, and which repository may use one before a version holds it.

A small SQLite database beside the lake: one row per blob is looked up on each request and written on each upload, which a
lakehouse table is not made for (docs/adr/0002-holdings.md).
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oci.digest import Digest
from oci.errors import CatalogUnusable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, ingested_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS links (
    repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, linked_at REAL NOT NULL,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_digest ON links (digest);
"""
_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Link:
    """A lease: `repository` may use the blob; `media_type` is set for manifests. `linked_at` is in Unix seconds."""

    repository: str
    digest: Digest
    media_type: str
    linked_at: float


@dataclass(frozen=True, slots=True)
class Held:
    """A blob that is held, and its size in bytes."""

    digest: Digest
    size: int


class Holdings:
    """The database; usable from any thread, durable when a method returns."""

    def __init__(self, file: Path, *, busy_timeout: float = 60.0) -> None:
        self._file, self._busy_timeout = file, busy_timeout
        self._connections: list[sqlite3.Connection] = []
        self._local = threading.local()
        self._writing, self._opening = threading.Lock(), threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connection()
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > _SCHEMA_VERSION:
            raise CatalogUnusable(f"{file} was written by a newer release (schema {found}); upgrade entrepot")
        if found < _SCHEMA_VERSION:
            connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION};")

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._file, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._local.connection = connection
            with self._opening:
                self._connections.append(connection)
        return connection

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

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        with self._writing:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise

    def ingest(
        self, digest: str, size: int, place: Callable[[], None], *, repository: str, media_type: str, now: float
    ) -> None:
        """Put the blob in its place, say that it is held, and that the repository may use it.

        `place` runs within the write transaction, so that no sweep takes away what it has just put down.
        """
        with self._write() as connection:
            place()
            connection.execute(
                "INSERT INTO blobs VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING", (digest, size, now)
            )
            self._write_link(connection, repository, digest, media_type, now)

    def add_link(self, repository: str, digest: str, *, media_type: str, now: float) -> bool:
        """Lease a blob to the repository; False, and no lease, when the blob is not held."""
        with self._write() as connection:
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
        """Which repositories hold a lease on the blob."""
        rows = self._connection().execute("SELECT repository FROM links WHERE digest = ?", (digest,))
        return {row[0] for row in rows}

    def held_after(self, last: str, *, limit: int) -> list[Held]:
        """Up to `limit` blobs in order of digest, after `last`."""
        rows = self._connection().execute(
            "SELECT digest, size FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?", (last, limit)
        )
        return [Held(Digest(digest), size) for digest, size in rows]

    def totals(self) -> tuple[int, int]:
        """How many blobs are held, and their bytes."""
        row = self._connection().execute("SELECT count(*), coalesce(sum(size), 0) FROM blobs").fetchone()
        return int(row[0]), int(row[1])

    def without_lease(self, blobs: Iterable[Held], *, since: float) -> list[Held]:
        """Those of the blobs that no repository has leased since a Unix time."""
        connection = self._connection()
        return [blob for blob in blobs if not _is_leased(connection, blob.digest, since)]

    def remove(self, digest: Digest, delete: Callable[[Digest], None], *, since: float) -> bool:
        """Forget a blob, its old leases and, by `delete`, its bytes; False, and nothing done, when leased since then."""
        with self._write() as connection:
            if _is_leased(connection, digest, since):
                return False
            connection.execute("DELETE FROM links WHERE digest = ?", (digest,))
            removed = connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,)).rowcount > 0
            delete(digest)
        return removed

    def drop_link(self, repository: str, digest: str) -> bool:
        """Let go of one lease; False when there is none."""
        with self._write() as connection:
            ended = connection.execute("DELETE FROM links WHERE repository = ? AND digest = ?", (repository, digest))
        return ended.rowcount > 0

    def drop_links(self, *, before: float) -> None:
        """Let go of leases older than a Unix time: versions hold by now what is to stay."""
        with self._write() as connection:
            connection.execute("DELETE FROM links WHERE linked_at < ?", (before,))

    def close(self) -> None:
        """Close every thread's connection."""
        with self._opening:
            for connection in self._connections:
                connection.close()
            self._connections.clear()


def _is_leased(connection: sqlite3.Connection, digest: str, since: float) -> bool:
    row = connection.execute("SELECT 1 FROM links WHERE digest = ? AND linked_at >= ?", (digest, since)).fetchone()
    return row is not None
