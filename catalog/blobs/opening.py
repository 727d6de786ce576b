"""Which store holds the bytes, and which file their record: those that the settings name."""

from pathlib import Path
from typing import TYPE_CHECKING

from catalog.blobs.index import BlobIndex
from catalog.blobs.local_store import BlobStore, LocalBlobStore
from catalog.blobs.schema import SCHEMA
from catalog.database.migration_mark import Allow
from catalog.database.sqlite import SqliteDatabase
from catalog.disk_reserve import Room
from catalog.settings import Settings

if TYPE_CHECKING:
    from catalog.database.postgresql import PostgresDatabase


def open_index(
    file: Path,
    *,
    busy_timeout: float = 60.0,
    room: Room | None = None,
    allow: Allow | None = None,
    postgres: "PostgresDatabase | None" = None,
) -> BlobIndex:
    """Open or make the record of held blobs in `postgres`, else in a file of SQLite; raise CatalogUnusable.

    Its database is the caller's to close.
    """
    if postgres is None:
        return BlobIndex(SqliteDatabase(file, SCHEMA, busy_timeout=busy_timeout, room=room, allow=allow))
    postgres.migrate(SCHEMA)
    return BlobIndex(postgres)


def open_store(settings: Settings) -> BlobStore:
    """Open the blob store that the settings name; raise SettingsInvalid or StorageUnavailable."""
    if settings.storage_folder is not None:
        return LocalBlobStore(settings.storage_folder)
    from catalog.blobs.s3_store import S3BlobStore, S3Place  # boto3 takes a while to import

    bucket, prefix = settings.storage_bucket
    place = S3Place(bucket, prefix, settings.s3_endpoint)
    return S3BlobStore(place, settings.root / "staging", redirect=settings.storage_redirect)
