"""Looks at a PostgreSQL database without making anything there: for checks, also of one that nobody has used yet."""

from datetime import datetime

from catalog.database.postgresql import connect_postgres
from catalog.postgres_address import PostgresAddress


def holds_lake(address: PostgresAddress) -> bool:
    """Return whether a release has made a catalogue in the database; raise CatalogUnavailable, CatalogUnusable."""
    return _first(address, b"SELECT to_regclass('public.ducklake_metadata') IS NOT NULL") is True


def read_clock(address: PostgresAddress) -> datetime:
    """Return the server's time; raise CatalogUnavailable, CatalogUnusable."""
    found = _first(address, b"SELECT clock_timestamp()")
    assert isinstance(found, datetime)
    return found


def _first(address: PostgresAddress, sql: bytes) -> object:
    with connect_postgres(address) as connection:
        row = connection.execute(sql).fetchone()
    return row[0] if row else None
