"""Where the lake and its rows are: beside the SQLite file, or in PostgreSQL and in the blobs' bucket."""

from catalog.blobs.local_store import LAKE
from catalog.lake.metadata.data import LakeData
from catalog.lake.reading import LakePlace
from catalog.settings import Settings


def lake_data(settings: Settings) -> LakeData:
    """Return where a lake in PostgreSQL keeps its rows: in the blobs' bucket, or in this machine's folder of the catalogue."""
    if settings.catalog_address is None or settings.storage_folder is not None:
        return LakeData(f"{settings.catalog_file.parent / 'data'}/")
    from catalog.blobs.s3_store import DuckdbSecret, S3Place

    bucket, prefix = settings.storage_bucket
    place = S3Place(bucket, prefix, settings.s3_endpoint)
    secret = DuckdbSecret(place)
    folder = f"s3://{'/'.join(part for part in (bucket, prefix, LAKE) if part)}/"
    return LakeData(folder, secret.fields(), secret.fields)


def lake_place(settings: Settings) -> LakePlace:
    """Return where the lake is, for who reads it alone."""
    if settings.catalog_address is None:
        return LakePlace(settings.catalog_file)
    return LakePlace(settings.catalog_file, settings.catalog_address, lake_data(settings))
