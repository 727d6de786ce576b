"""Copies the tables that both engines have alike, and compares them: the record of held blobs, and the queue of events."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, cast

from catalog.database.engine import Database, Row, Transaction

_MASK = 2**128 - 1
_PARTED = 50_000
"""Rows from which on a table is read in parts."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its columns and its key. One with `by_digest` is copied and compared part by part."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    by_digest: bool = False


def _table(name: str, columns: str, key: str, *, by_digest: bool = False) -> Table:
    return Table(name, tuple(columns.split()), tuple(key.split()), by_digest)


HOLDINGS = (
    _table("blobs", "digest size ingested_at read_at vouched_at taken_by", "digest", by_digest=True),
    _table("links", "repository digest media_type linked_at", "repository digest", by_digest=True),
    _table("deliveries", "digest origin", "digest origin", by_digest=True),
    _table("leaving", "digest size", "digest"),
    _table("quarantine", "digest size reason found_at healed_at", "digest"),
    _table("marks", "name value", "name"),
)
QUEUE = (
    _table("events", "id hook action repository tag digest received_at", "id"),
    _table("seen", "hook key digest at", "hook key"),
    _table("runs", "key hook deployment parameters attempts next_at created_at", "key"),
    _table("cursors", "subscription position told since delivered failures error", "subscription"),
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """How many rows there are, and a hash of them that does not depend on their order."""

    rows: int = 0
    hash: int = 0

    def __add__(self, other: "Fingerprint") -> "Fingerprint":
        return Fingerprint(self.rows + other.rows, (self.hash + other.hash) & _MASK)


def fingerprint_of(rows: Sequence[Row]) -> Fingerprint:
    """Return the fingerprint of some rows."""
    total = 0
    for row in rows:
        total += int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=16).digest(), "big")
    return Fingerprint(len(rows), total & _MASK)


class Copying(Protocol):
    """A transaction of PostgreSQL."""

    def copy(self, sql: str, rows: Sequence[Row]) -> None: ...


def copy_table(source: Database, target: Database, table: Table) -> None:
    """Make a table of the target equal to that of the source. What is equal already is left."""
    for part in _parts(source, target, table):
        wanted, found = set(_read(source, table, part)), set(_read(target, table, part))
        if wanted != found:
            _replace(target, table, [*(found - wanted)], [*(wanted - found)])


def compare_table(source: Database, target: Database, table: Table) -> tuple[Fingerprint, Fingerprint]:
    """Return the fingerprints of both sides."""
    here = there = Fingerprint()
    for part in _parts(source, target, table):
        here += fingerprint_of(_read(source, table, part))
        there += fingerprint_of(_read(target, table, part))
    return here, there


def count_rows(source: Database, table: Table) -> int:
    """Return how many rows a table has."""
    return int(source.rows(f"SELECT count(*) FROM {table.name}")[0][0])


def _parts(source: Database, target: Database, table: Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return conditions with parameters that together take each row once; some thousand rows each of a million."""
    if not table.by_digest or max(count_rows(source, table), count_rows(target, table)) < _PARTED:
        yield "1 = 1", ()
        return
    bounds = [f"sha256:{number:02x}" for number in range(1, 256)]
    yield "digest < ?", (bounds[0],)
    for low, high in pairwise(bounds):
        yield "digest >= ? AND digest < ?", (low, high)
    yield "digest >= ?", (bounds[-1],)


def _read(database: Database, table: Table, part: tuple[str, tuple[str, ...]]) -> list[Row]:
    return database.rows(f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {part[0]}", part[1])


def _replace(target: Database, table: Table, gone: Sequence[Row], new: Sequence[Row]) -> None:
    places = [table.columns.index(column) for column in table.key]
    where = " AND ".join(f"{column} = ?" for column in table.key)
    with target.transaction() as transaction:
        transaction.executemany(
            f"DELETE FROM {table.name} WHERE {where}", [tuple(row[place] for place in places) for row in gone]
        )
        _insert(target, transaction, table, new)


def _insert(target: Database, transaction: Transaction, table: Table, rows: Sequence[Row]) -> None:
    columns = ", ".join(table.columns)
    if target.is_shared:
        cast("Copying", transaction).copy(f"COPY {table.name} ({columns}) FROM STDIN", rows)
    else:
        marks = ", ".join("?" * len(table.columns))
        transaction.executemany(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", rows)


def next_event_id(source: Database) -> int:
    """Return the number that the next event would get at least."""
    found: Any = source.rows("SELECT coalesce(max(id), 0) FROM events")[0][0]
    return int(found) + 1
