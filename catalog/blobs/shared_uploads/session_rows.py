"""The record of open sessions in PostgreSQL: how many bytes each has, in which pieces, and the state of their hash."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from catalog.database.engine import Database, Schema

_POSTGRESQL = (
    """
CREATE TABLE upload_sessions (
    id TEXT COLLATE "C" PRIMARY KEY, repository TEXT COLLATE "C" NOT NULL, size BIGINT NOT NULL,
    hash_state BYTEA, hash_format TEXT NOT NULL, started_at DOUBLE PRECISION NOT NULL, touched_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX upload_sessions_repository ON upload_sessions (repository);
CREATE TABLE upload_pieces (
    session TEXT COLLATE "C" NOT NULL REFERENCES upload_sessions ON DELETE CASCADE, first BIGINT NOT NULL,
    size BIGINT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (session, first)
);
""",
)

SESSIONS_SCHEMA = Schema("uploads", (), _POSTGRESQL)

_ADVANCE = """WITH moved AS (
    UPDATE upload_sessions SET size = ?, hash_state = ?, hash_format = ?, touched_at = ? WHERE id = ? AND size = ?
    RETURNING id
)
INSERT INTO upload_pieces (session, first, size, name) SELECT id, ?::bigint, ?::bigint, ? FROM moved"""

_REMOVE = """WITH named AS (SELECT name FROM upload_pieces WHERE session = ?),
    gone AS (DELETE FROM upload_sessions WHERE id = ?)
SELECT name FROM named"""

_EXPIRE = """WITH named AS (
    SELECT session, name FROM upload_pieces JOIN upload_sessions ON id = session WHERE touched_at < ?
), gone AS (DELETE FROM upload_sessions WHERE touched_at < ? RETURNING id)
SELECT id, name FROM gone LEFT JOIN named ON session = id"""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `first` to `first + size` of a session, in the store under a name that no other piece ever has."""

    name: str
    first: int
    size: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as its last acknowledged request has left it: `size` in bytes, `touched_at` in Unix seconds.

    `hash_state` is None where no replica can go on hashing.
    """

    id: str
    repository: str
    size: int
    hash_state: bytes | None
    hash_format: str
    touched_at: float


class SessionRows:
    """The record; usable from any thread, durable when a method returns. Raises what `Database` raises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, session_id: str, repository: str, now: float) -> None:
        """Record a new, empty session."""
        self._database.change(
            "INSERT INTO upload_sessions VALUES (?, ?, 0, NULL, '', ?, ?) ON CONFLICT (id) DO NOTHING",
            (session_id, repository, now, now),
        )

    def find(self, session_id: str, repository: str) -> SessionRow | None:
        """Return a session of a repository, None where there is none."""
        rows = self._database.rows(
            "SELECT id, repository, size, hash_state, hash_format, touched_at FROM upload_sessions "
            "WHERE id = ? AND repository = ?",
            (session_id, repository),
        )
        return SessionRow(*rows[0]) if rows else None

    def pieces(self, session_id: str, size: int) -> list[Piece]:
        """Return the pieces of a session's first `size` bytes, in order."""
        rows = self._database.rows(
            "SELECT name, first, size FROM upload_pieces WHERE session = ? AND first < ? ORDER BY first",
            (session_id, size),
        )
        return [Piece(*row) for row in rows]

    def advance(self, session_id: str, piece: Piece, state: bytes | None, state_format: str, now: float) -> bool:
        """Append a piece that is stored; False when the session does not end where the piece begins."""
        end = piece.first + piece.size
        values = (end, state, state_format, now, session_id, piece.first, piece.first, piece.size, piece.name)
        if self._database.change(_ADVANCE, values):
            return True
        # The statement runs twice where a connection breaks: the first run may have done it.
        rows = self._database.rows(
            "SELECT 1 FROM upload_pieces WHERE name = ? AND session = ?", (piece.name, session_id)
        )
        return bool(rows)

    def touch(self, session_id: str, now: float) -> None:
        """Note that somebody is at the session."""
        self._database.change("UPDATE upload_sessions SET touched_at = ? WHERE id = ?", (now, session_id))

    def remove(self, session_id: str) -> list[str]:
        """Forget a session; return the names of its pieces, which are the caller's to remove."""
        return [row[0] for row in self._database.rows(_REMOVE, (session_id, session_id))]

    def expire(self, before: float) -> tuple[int, list[str]]:
        """Forget sessions that nobody has touched since a Unix time; return how many, and the names of their pieces."""
        rows = self._database.rows(_EXPIRE, (before, before))
        return len({row[0] for row in rows}), [row[1] for row in rows if row[1] is not None]

    def known(self, session_ids: Iterable[str]) -> set[str]:
        """Return those of the sessions that are open."""
        wanted: Sequence[str] = sorted(set(session_ids))
        rows = self._database.rows("SELECT id FROM upload_sessions WHERE id = ANY(?)", (wanted,))
        return {row[0] for row in rows}

    def count(self, repository: str) -> int:
        """Return how many sessions of a repository are open."""
        ((found,),) = self._database.rows("SELECT count(*) FROM upload_sessions WHERE repository = ?", (repository,))
        return int(found)

    def sizes(self) -> list[tuple[str, int]]:
        """Return repositories with open sessions, and the bytes of these."""
        rows = self._database.rows("SELECT repository, sum(size)::bigint FROM upload_sessions GROUP BY repository")
        return [(repository, int(size)) for repository, size in rows]
