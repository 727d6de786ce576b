"""Which store holds the bytes: the one that the settings name."""

from catalog.blobs.local_store import BlobStore, LocalBlobStore
from catalog.settings import Settings


def open_store(settings: Settings) -> BlobStore:
    """Open the blob store that the settings name; raise SettingsInvalid or StorageUnavailable."""
    if settings.storage_folder is not None:
        return LocalBlobStore(settings.storage_folder)
    from catalog.blobs.s3_store import S3BlobStore, S3Place  # boto3 takes a while to import

    bucket, prefix = settings.storage_bucket
    place = S3Place(bucket, prefix, settings.s3_endpoint)
    return S3BlobStore(place, settings.root / "staging", redirect=settings.storage_redirect)
