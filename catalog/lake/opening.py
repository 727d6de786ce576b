"""Opening the lake with the metadata catalogue that the settings name."""

from typing import TYPE_CHECKING

from catalog.disk_reserve import Room
from catalog.lake.connection import Lake
from catalog.lake.metadata.data import LakeData
from catalog.settings import Settings

if TYPE_CHECKING:
    from catalog.state.shared_state import SharedState


def open_lake(settings: Settings, state: "SharedState | None", data: LakeData, *, room: Room) -> Lake:
    """Open or make the lake: in the shared state's database with its rows in `data`, or in a SQLite file beside them."""
    metadata = None
    if state is not None:
        from catalog.lake.metadata.postgresql import PostgresMetadata

        metadata = PostgresMetadata(state.database, data, lock_timeout=settings.lock_timeout, listener=state.listener)
    return Lake(
        settings.catalog_file,
        memory=settings.duckdb_memory,
        threads=settings.duckdb_threads,
        lock_timeout=settings.lock_timeout,
        room=room,
        direct_commits=settings.direct_commits,
        metadata=metadata,
    )
