"""The record of which blobs are held, and which repository may use one before a version holds it.

One row per blob is looked up on each request and written on each upload. A lakehouse table is not made for that, so the record
lies in a database of its own (docs/adr/0002-holdings.md). On PostgreSQL any number of machines share it.

Who places or removes the bytes of a blob has the lock of its digest. All lock in one order: digests, rows of `blobs`, rows of
`links`, and each of these by key (docs/adr/0020-state-on-two-engines.md).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from catalog.blobs.ingest_queue import Ingest, place_all
from catalog.blobs.local_store import BlobStore
from catalog.blobs.row_writes import write_loss, write_rows
from catalog.database.engine import Database, Transaction, placeholders
from oci.digest import HEX_LENGTH, Digest
from oci.errors import StorageCorrupt

_Value = TypeVar("_Value")

_LINKS = 100_000
"""Leases looked at in one step."""

_STEP = 200
"""Blobs that one transaction gives up, or one question names, at most."""

_LEFT_STEP, _LEFT_STEP_SHARED = 200, 16
"""Blobs whose bytes one transaction removes at most; on PostgreSQL, all of them are locked for so long."""

_PATIENT_SECONDS = 0.05
"""How long bytes are removed before uploads get their turn."""

_REMOVED_MEANWHILE = "its bytes were removed while it came in"

_ADD_LINK = """INSERT INTO links SELECT ?, digest, ?, ? FROM blobs WHERE digest = ?{for_key_share}
ON CONFLICT (repository, digest) DO UPDATE SET linked_at = excluded.linked_at,
    media_type = CASE excluded.media_type WHEN '' THEN links.media_type ELSE excluded.media_type END"""


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
    """The record, in a database with the tables of `schema.SCHEMA`; usable from any thread, durable when a method returns.

    Raises what `Database` raises.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        is_shared = database.is_shared
        self._for_update = " FOR UPDATE" if is_shared else ""
        self.add_link_sql = _ADD_LINK.format(for_key_share=" FOR KEY SHARE" if is_shared else "")
        self._left_step = _LEFT_STEP_SHARED if is_shared else _LEFT_STEP

    def size(self, digest: str) -> int | None:
        """Bytes of a blob that is held, None for one that is not."""
        rows = self.database.rows("SELECT size FROM blobs WHERE digest = ?", (digest,))
        return rows[0][0] if rows else None

    def find_beginning(self, digits: str, limit: int) -> list[str]:
        """Return the digests of held blobs that begin with some hexadecimal digits, of each algorithm; by the key."""
        found: list[str] = []
        for name in HEX_LENGTH:
            first = f"{name}:{digits}"
            sql = "SELECT digest FROM blobs WHERE digest >= ? AND digest < ? ORDER BY digest LIMIT ?"
            found += [str(row[0]) for row in self.database.rows(sql, (first, f"{first}g", limit))]
        return found

    def sizes(self, digests: Iterable[str]) -> dict[Digest, int]:
        """Bytes of those of the blobs that are held."""
        found: dict[Digest, int] = {}
        for some in _steps(digests):
            rows = self.database.rows(f"SELECT digest, size FROM blobs WHERE digest IN ({placeholders(some)})", some)
            found.update((Digest(digest), size) for digest, size in rows)
        return found

    def held_for(self, repository: str, digests: Iterable[str]) -> dict[Digest, tuple[int, bool]]:
        """Return the sizes of the blobs that are held, and whether the repository has a lease on each."""
        found: dict[Digest, tuple[int, bool]] = {}
        for some in _steps(digests):
            rows = self.database.rows(
                "SELECT blobs.digest, size, links.digest IS NOT NULL FROM blobs "
                "LEFT JOIN links ON links.digest = blobs.digest AND links.repository = ? "
                f"WHERE blobs.digest IN ({placeholders(some)})",
                (repository, *some),
            )
            found.update((Digest(digest), (size, bool(is_leased))) for digest, size, is_leased in rows)
        return found

    def ingested(self, digest: str) -> tuple[int, float] | None:
        """Bytes of a blob that is held, and since when in Unix seconds; None for one that is not."""
        rows = self.database.rows("SELECT size, ingested_at FROM blobs WHERE digest = ?", (digest,))
        return (rows[0][0], rows[0][1]) if rows else None

    def link(self, repository: str, digest: str) -> Link | None:
        """The repository's lease on a blob that is held."""
        rows = self.database.rows(
            "SELECT media_type, linked_at FROM links WHERE repository = ? AND digest = ?", (repository, digest)
        )
        return Link(repository, Digest(digest), *rows[0]) if rows else None

    def leases(self, repository: str, digests: Iterable[str]) -> dict[Digest, Link]:
        """Return the repository's leases on the blobs that are held; one query."""
        found: dict[Digest, Link] = {}
        for some in _steps(digests):
            rows = self.database.rows(
                "SELECT digest, media_type, linked_at FROM links "
                f"WHERE repository = ? AND digest IN ({placeholders(some)})",
                (repository, *some),
            )
            found.update((Digest(digest), Link(repository, Digest(digest), *rest)) for digest, *rest in rows)
        return found

    def origins(self, digest: str) -> frozenset[str]:
        """The registries that have sent a blob whole."""
        return frozenset(
            row[0] for row in self.database.rows("SELECT origin FROM deliveries WHERE digest = ?", (digest,))
        )

    def taken_by(self, digest: str) -> str | None:
        """The repository that brought a blob that is held first, or of those that are public one that has it, where known."""
        rows = self.database.rows("SELECT taken_by FROM blobs WHERE digest = ?", (digest,))
        return rows[0][0] if rows else None

    def set_taken_by(self, digest: str, repository: str) -> None:
        """Name another repository that has a blob."""
        self.database.change("UPDATE blobs SET taken_by = ? WHERE digest = ?", (repository, digest))

    def ingest(
        self, ingests: Sequence[Ingest], settle: Callable[[Sequence[Digest]], None], *, is_remote: bool = False
    ) -> None:
        """Put blobs in their places, make them durable, say that they are held, and that their repositories may use them.

        All that is one transaction with the lock of each blob, so that no sweep takes away what has just been put down. Blobs
        that others are at come in by a second one, so that the rest need not wait. `settle` makes durable what was placed.
        With `is_remote`, to place is a request over the network. A blob that cannot be placed gets the error, and the others
        go on. Any other error is raised, and none is held.
        """
        with self.database.transaction() as transaction:
            free = self.database.lock_free(transaction, {one.digest for one in ingests})
            self._keep(transaction, [one for one in ingests if one.digest in free], settle, is_remote)
        if len(free) < len(ingests) and (others := [one for one in ingests if one.digest not in free]):
            for one in ingests:
                one.is_done = one.digest in free
            try:
                with self.database.transaction({one.digest for one in others}) as transaction:
                    self._keep(transaction, others, settle, is_remote)
            except Exception as error:  # noqa: BLE001  # handed to whoever waits for it: the first are held
                for one in others:
                    one.error = one.error or error

    def _keep(
        self,
        transaction: Transaction,
        ingests: Sequence[Ingest],
        settle: Callable[[Sequence[Digest]], None],
        is_remote: bool,
    ) -> None:
        place_all(ingests, is_remote=is_remote)
        placed = [one for one in ingests if one.error is None]
        settle([one.digest for one in placed])
        write_rows(transaction, placed, at_once=self.database.is_shared)

    def add_link(self, repository: str, digest: str, *, media_type: str, now: float) -> bool:
        """Lease a blob to the repository; False, and no lease, when the blob is not held."""
        return self.database.change(self.add_link_sql, (repository, media_type, now, digest)) > 0

    def repositories_of(self, digest: str) -> set[str]:
        """Return which repositories hold a lease on the blob."""
        return {row[0] for row in self.database.rows("SELECT repository FROM links WHERE digest = ?", (digest,))}

    def totals(self) -> tuple[int, int]:
        """Return how many blobs are held, and their bytes."""
        ((blobs, size),) = self.database.rows("SELECT count(*), coalesce(sum(size), 0) FROM blobs")
        return int(blobs), int(size)

    def without_lease(self, blobs: Iterable[BlobRecord], *, since: float) -> list[BlobRecord]:
        """Those of the blobs that no repository has leased since a Unix time."""
        free: list[BlobRecord] = []
        for some in _steps(blobs):
            leased = {row[0] for row in self.database.rows(*_leased([blob.digest for blob in some], since))}
            free += [blob for blob in some if blob.digest not in leased]
        return free

    def links(self, digest: Digest, *, since: float = 0.0) -> list[Link]:
        """The leases on a blob that are not older than a Unix time, the oldest first."""
        rows = self.database.rows(
            "SELECT repository, media_type, linked_at FROM links WHERE digest = ? AND linked_at >= ? ORDER BY linked_at",
            (digest, since),
        )
        return [Link(repository, digest, media_type, linked_at) for repository, media_type, linked_at in rows]

    def give_up(self, blobs: Iterable[BlobRecord], *, since: float) -> list[BlobRecord]:
        """Forget blobs and their old leases; return those of which that was done: the others were leased since a Unix time, are
        not held, or come in at this moment. Their bytes stay until `remove_left`.

        The record goes first and for good: were the bytes to go first, a process killed between the two would leave a blob that
        counts as held and is not there.
        """
        given_up: list[BlobRecord] = []
        for some in _steps(blobs):
            with self.database.transaction() as transaction:
                given_up += self._give_up(transaction, {blob.digest: blob for blob in some}, since)
        return given_up

    def _give_up(self, transaction: Transaction, blobs: dict[Digest, BlobRecord], since: float) -> list[BlobRecord]:
        free = sorted(self.database.lock_free(transaction, blobs))  # an ingest that has one gives it a lease
        if not free:
            return []
        held = transaction.execute(  # with PostgreSQL, whoever adds a lease has ended then, and its lease is seen below
            f"SELECT digest FROM blobs WHERE digest IN ({placeholders(free)}) ORDER BY digest{self._for_update}", free
        ).fetchall()
        leased = {row[0] for row in transaction.execute(*_leased(free, since)).fetchall()}
        going = [blobs[digest] for (digest,) in held if digest not in leased]
        if going:
            digests = [blob.digest for blob in going]
            listed = placeholders(digests)
            self._drop_links(transaction, f"digest IN ({listed})", digests)
            transaction.execute(f"DELETE FROM deliveries WHERE digest IN ({listed})", digests)
            transaction.execute(f"DELETE FROM blobs WHERE digest IN ({listed})", digests)
            transaction.executemany(
                "INSERT INTO leaving VALUES (?, ?) ON CONFLICT (digest) DO UPDATE SET size = excluded.size",
                [(blob.digest, blob.size) for blob in going],
            )
        return going

    def remove_left(self, store: BlobStore) -> None:
        """Remove the bytes of all that was given up, by this process or one that was killed; not of what has come in again.

        Each hold of the database lasts moments, so that uploads get their turn. What others are at is left to them.
        """
        last = ""
        while rows := self.database.rows(
            "SELECT digest FROM leaving WHERE digest > ? ORDER BY digest LIMIT ?", (last, self._left_step)
        ):
            with self.database.transaction() as transaction:
                started = time.monotonic()
                free = self.database.lock_free(transaction, [row[0] for row in rows])
                for (digest,) in rows:
                    if digest in free:
                        self._remove_left(transaction, Digest(digest), store)
                    last = digest
                    if time.monotonic() - started > _PATIENT_SECONDS:
                        break

    def _remove_left(self, transaction: Transaction, digest: Digest, store: BlobStore) -> None:
        """Remove the bytes of a blob that is locked, unless it is held.

        One that is held came in again. Its bytes are looked at: who was to remove them may have lost its connection, and with it
        its lock, before it had done so. If they are gone, the blob is not held.
        """
        held = transaction.execute("SELECT size FROM blobs WHERE digest = ?", (digest,)).fetchone()
        if held is None:
            store.delete(digest)
        else:
            try:
                store.check_blob(digest, held[0])
            except StorageCorrupt:
                write_loss(transaction, digest, held[0], _REMOVED_MEANWHILE, time.time())
        transaction.execute("DELETE FROM leaving WHERE digest = ?", (digest,))

    def remove_unknown(self, blob: BlobRecord, remove: Callable[[], None]) -> bool:
        """Remove bytes that no record names by `remove`; False when their blob is held, or others are at it."""
        noted = self.database.change(  # for good: whoever is killed in the midst of it leaves a note
            "INSERT INTO leaving SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE digest = ?) "
            "ON CONFLICT (digest) DO UPDATE SET size = excluded.size",
            (blob.digest, blob.size, blob.digest),
        )
        if not noted:
            return False
        with self.database.transaction() as transaction:
            is_free = bool(self.database.lock_free(transaction, [blob.digest]))
            held = transaction.execute("SELECT 1 FROM blobs WHERE digest = ?", (blob.digest,)).fetchone()
            if not is_free or held is not None:
                return False
            remove()
            transaction.execute("DELETE FROM leaving WHERE digest = ?", (blob.digest,))
        return True

    def known(self, digests: Iterable[str]) -> set[str]:
        """Return those of the blobs that are held or given up."""
        found: set[str] = set()
        for some in _steps(digests):
            listed = placeholders(some)
            rows = self.database.rows(
                f"SELECT digest FROM blobs WHERE digest IN ({listed}) UNION "
                f"SELECT digest FROM leaving WHERE digest IN ({listed})",
                some * 2,
            )
            found.update(row[0] for row in rows)
        return found

    def drop_link(self, repository: str, digest: str) -> bool:
        """Let go of one lease; False when there is none."""
        return self.database.change("DELETE FROM links WHERE repository = ? AND digest = ?", (repository, digest)) > 0

    def old_links(self, *, before: float) -> Iterator[list[tuple[str, Digest]]]:
        """Leases older than a Unix time, some at a time: repositories and digests."""
        last = ("", "")
        while rows := self.database.rows(
            "SELECT repository, digest FROM links WHERE (repository, digest) > (?, ?) AND linked_at < ? "
            "ORDER BY repository, digest LIMIT ?",
            (*last, before, _LINKS),
        ):
            yield [(name, Digest(digest)) for name, digest in rows]
            last = rows[-1][0], rows[-1][1]

    def drop_links(self, links: Iterable[tuple[str, str]], *, before: float) -> None:
        """Let go of those leases that are still older than a Unix time."""
        with self.database.transaction() as transaction:
            transaction.executemany(
                "DELETE FROM links WHERE repository = ? AND digest = ? AND linked_at < ?",
                [(name, digest, before) for name, digest in sorted(links)],
            )

    def renew_links(self, links: Iterable[tuple[str, str]], *, now: float) -> None:
        """Make leases young again."""
        with self.database.transaction() as transaction:
            transaction.executemany(
                "UPDATE links SET linked_at = ? WHERE repository = ? AND digest = ?",
                [(now, name, digest) for name, digest in sorted(links)],
            )

    def grant(self, links: Iterable[tuple[str, str]]) -> None:
        """Let repositories use blobs by leases of no date: they keep no bytes, and stay as long as versions name the blobs."""
        with self.database.transaction() as transaction:
            transaction.executemany(
                "INSERT INTO links VALUES (?, ?, '', 0) ON CONFLICT (repository, digest) DO NOTHING", sorted(links)
            )

    def end_links(self, repository: str) -> None:
        """Let go of all leases of a repository that is no more."""
        with self.database.transaction() as transaction:
            self._drop_links(transaction, "repository = ?", (repository,))

    def _drop_links(self, transaction: Transaction, where: str, parameters: Sequence[str]) -> None:
        if self._for_update:  # in the order of their key, which a DELETE does not keep
            transaction.execute(
                f"SELECT 1 FROM links WHERE {where} ORDER BY repository, digest{self._for_update}", parameters
            )
        transaction.execute(f"DELETE FROM links WHERE {where}", parameters)

    def linked(self, repository: str) -> dict[Digest, int]:
        """The blobs that are held and leased to a repository, with their sizes."""
        rows = self.database.rows(
            "SELECT links.digest, size FROM links JOIN blobs USING (digest) WHERE repository = ?", (repository,)
        )
        return {Digest(digest): size for digest, size in rows}

    def mark(self, name: str) -> float | None:
        """Return a number that maintenance has noted."""
        found = self.database.rows("SELECT value FROM marks WHERE name = ?", (name,))
        return float(found[0][0]) if found else None

    def set_mark(self, name: str, value: float | None) -> None:
        """Note a number, or forget it."""
        if value is None:
            self.database.change("DELETE FROM marks WHERE name = ?", (name,))
        else:
            self.database.change(
                "INSERT INTO marks VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
            )


def _leased(digests: Sequence[str], since: float) -> tuple[str, list[Any]]:
    """Return the question which of some blobs were leased since a Unix time, and its parameters."""
    sql = f"SELECT DISTINCT digest FROM links WHERE digest IN ({placeholders(digests)}) AND linked_at >= ?"
    return sql, [*digests, since]


def _steps(values: Iterable[_Value]) -> Iterator[list[_Value]]:
    rest = iter(values)
    while some := list(islice(rest, _STEP)):
        yield some
