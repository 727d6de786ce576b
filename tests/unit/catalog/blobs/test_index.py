"""The record of held blobs: an older one is taken over, a newer one refused."""

import sqlite3
from pathlib import Path

import pytest

from catalog.blobs.index import BlobIndex, BlobRecord
from oci.digest import Digest
from oci.errors import CatalogUnusable

DIGEST = Digest.of(b"held")


def test_a_record_of_the_first_schema_is_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "holdings.sqlite"
    with sqlite3.connect(file) as old:
        old.executescript(
            "CREATE TABLE blobs (digest TEXT PRIMARY KEY, size INTEGER NOT NULL, ingested_at REAL NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE links (repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,"
            " linked_at REAL NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID;"
            f"INSERT INTO blobs VALUES ('{DIGEST}', 4, 1.0); PRAGMA user_version = 1;"
        )
    for _ in range(2):
        blob_index = BlobIndex(file)
        assert blob_index.size(DIGEST) == 4
        blob_index.close()
    blob_index = BlobIndex(file)
    assert blob_index.give_up([BlobRecord(DIGEST, 4)], since=2.0) == [BlobRecord(DIGEST, 4)]
    removed: list[Digest] = []
    blob_index.remove_left(removed.append)
    assert removed == [DIGEST]
    blob_index.close()


def test_a_newer_record_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "holdings.sqlite"
    BlobIndex(file).close()
    with sqlite3.connect(file) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(CatalogUnusable, match="newer release"):
        BlobIndex(file)
