"""Which upload sessions an installation has: files of one machine, or rows in PostgreSQL with pieces in the store."""

from typing import TYPE_CHECKING

from catalog.blobs.index import BlobIndex
from catalog.blobs.local_store import BlobStore, LocalBlobStore
from catalog.blobs.shared_uploads.pieces import FolderPieces, Pieces
from catalog.blobs.shared_uploads.session_rows import SESSIONS_SCHEMA
from catalog.blobs.uploads import Clock, Uploads
from catalog.disk_reserve import Room
from catalog.settings import Settings
from oci.errors import CatalogUnusable

if TYPE_CHECKING:
    from catalog.database.postgresql import PostgresDatabase


def open_uploads(
    settings: Settings,
    store: BlobStore,
    blob_index: BlobIndex,
    postgres: "PostgresDatabase | None",
    *,
    clock: Clock,
    room: Room | None = None,
) -> Uploads:
    """Open the upload sessions over a store: with `postgres` they are those of all replicas.

    Raises CatalogUnusable where a package for that is missing.
    """
    if postgres is None:
        return Uploads(store, blob_index, clock=clock, expiry=settings.upload_expiry, room=room)
    try:
        from catalog.blobs.shared_uploads.sessions import SharedUploads
    except ImportError as error:
        raise CatalogUnusable(
            f"ENTREPOT_CATALOG names PostgreSQL, and {error.name} is not installed: pip install 'entrepot[postgresql]'"
        ) from None
    postgres.migrate(SESSIONS_SCHEMA)
    return SharedUploads(store, blob_index, _open_pieces(store), clock=clock, expiry=settings.upload_expiry, room=room)


def _open_pieces(store: BlobStore) -> Pieces:
    if isinstance(store, LocalBlobStore):
        return FolderPieces(store)
    from catalog.blobs.s3_store import S3BlobStore  # boto3 takes a while to import
    from catalog.blobs.shared_uploads.s3_pieces import S3Pieces

    assert isinstance(store, S3BlobStore)
    return S3Pieces(store)
