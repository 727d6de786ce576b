"""The record of held blobs for tests that run on both engines."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from catalog.blobs.index import BlobIndex
from catalog.blobs.ingest_queue import Ingest
from catalog.blobs.opening import open_index
from catalog.blobs.schema import SCHEMA
from catalog.database.postgresql import PostgresDatabase
from catalog.postgres_address import parse_address
from oci.digest import Digest
from tests.postgresql import PostgresServer


@contextmanager
def open_holdings(request: pytest.FixtureRequest, file: Path) -> Iterator[Callable[[], BlobIndex]]:
    """Open the same record again and again, on the engine that is the fixture's parameter: `sqlite` or `postgresql`."""
    opened: list[BlobIndex] = []
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()

    def open_it() -> BlobIndex:
        opened.append(open_shared_index(url) if url else open_index(file))
        return opened[-1]

    yield open_it
    for one in opened:
        one.database.close()


def open_shared_index(url: str) -> BlobIndex:
    """Open the record in a database of PostgreSQL, with connections of its own, as another machine would."""
    database = PostgresDatabase(parse_address(url, PostgresServer.password))
    database.migrate(SCHEMA)
    return BlobIndex(database)


def hold(blob_index: BlobIndex, digests: Sequence[Digest], *, repository: str = "team/app", now: float = 1.0) -> None:
    """Record blobs of one byte as held and leased, without bytes."""
    group = [Ingest(digest, 1, lambda: None, repository, "", now) for digest in digests]
    blob_index.ingest(group, lambda _: None)
    assert [one.error for one in group] == [None] * len(group)
