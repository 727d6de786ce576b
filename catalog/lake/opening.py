"""Opening the lake with the metadata catalogue that the settings name."""

from typing import TYPE_CHECKING

from catalog.disk_reserve import Room
from catalog.lake.connection import Lake
from catalog.lake.metadata.data import LakeData
from catalog.settings import Settings

if TYPE_CHECKING:
    from catalog.database.postgresql import PostgresDatabase


def open_lake(settings: Settings, postgres: "PostgresDatabase | None", data: LakeData, *, room: Room) -> Lake:
    """Open or make the lake: in `postgres` with its rows in `data`, or in a SQLite file with its rows beside it."""
    metadata = None
    if postgres is not None:
        from catalog.lake.metadata.postgresql import PostgresMetadata

        metadata = PostgresMetadata(postgres, data, lock_timeout=settings.lock_timeout)
    return Lake(
        settings.catalog_file,
        memory=settings.duckdb_memory,
        threads=settings.duckdb_threads,
        lock_timeout=settings.lock_timeout,
        room=room,
        direct_commits=settings.direct_commits,
        metadata=metadata,
    )
