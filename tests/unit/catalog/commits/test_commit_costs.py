"""The cost of a commit in PostgreSQL, counted: each round trip is one on every machine, whatever the network between."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from catalog.blobs.index import BlobRecord
from catalog.blobs.local_store import BlobReader
from catalog.blobs.s3_store import S3BlobStore
from catalog.catalog import Catalog, open_catalog
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, Commit, SetTag
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.servers import S3Server

pytestmark = pytest.mark.usefixtures("postgres")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(read_settings(home=tmp_path / "home")) as opened:
        for number in range(6):  # until the tables are known, and their statements prepared
            _stage(opened, f"warm{number}", 1)()
        yield opened


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> "Counter[str]":
    """Counts what this thread waits for from now on: statements of their own, and batches of several."""
    counts: Counter[str] = Counter()
    this, execute, pipeline = threading.get_ident(), psycopg.Cursor.execute, psycopg.Connection.pipeline

    def counting(self: "psycopg.Cursor[Any]", query: Any, *arguments: Any, **options: Any) -> Any:
        if threading.get_ident() == this and self.connection.info.pipeline_status == 0:
            counts["statements"] += 1
        return execute(self, query, *arguments, **options)

    @contextmanager
    def batch(self: "psycopg.Connection[Any]") -> Iterator[Any]:
        counts["batches"] += threading.get_ident() == this
        with pipeline(self) as entered:
            yield entered

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    monkeypatch.setattr(psycopg.Connection, "pipeline", batch)
    return counts


def _stage(catalog: Catalog, tag: str, layers: int, *, in_memory: bool = True) -> Callable[[], object]:
    """Stage an image as a push does, which leaves the manifest `in_memory`; return what commits it."""
    store = MemoryStore()
    image = pack_image(store, [{f"{tag}-{number}": "layer"} for number in range(layers)])
    for data in store.blobs.values():
        catalog.content.put(data, Digest.of(data), "team/app")
    catalog.content.put(image.raw, image.digest, "team/app", image.media_type)
    if in_memory:
        catalog.manifests.keep(image)
    changes = AddManifest(image.descriptor), SetTag(tag, image.digest)
    commit = Commit("team/app", "push", changes, tag, "somebody", datetime.now(UTC))
    return lambda: catalog.commits.commit(commit)


@pytest.mark.parametrize("layers", [1, 30])
def test_a_commit_waits_for_the_database_four_times_whatever_it_holds(
    catalog: Catalog, trips: "Counter[str]", layers: int
) -> None:
    """For the lock with the newest snapshot; for which parts are held; for the state of the tables; for the commit."""
    commit = _stage(catalog, "next", layers)
    trips.clear()
    commit()
    assert trips == {"batches": 3, "statements": 1}
    assert catalog.commits.ways["direct"] == 7


def test_nothing_is_read_from_s3_while_others_wait_for_the_lock(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bool] = []
    with open_catalog(read_settings(home=tmp_path / "home")) as catalog:
        lake, own = catalog._lake, S3BlobStore.open

        def watched(store: S3BlobStore, digest: Digest, size: int) -> BlobReader:
            read.append(lake._writing.locked())
            return own(store, digest, size)

        monkeypatch.setattr(S3BlobStore, "open", watched)
        commit = _stage(catalog, "next", 1, in_memory=False)
        commit()
        assert lake.read("SELECT architecture FROM records WHERE kind = 'manifest'") == [("amd64",)]
    assert read == [False, False], "the manifest and its config"


def test_what_memory_has_of_a_manifest_that_is_not_held_is_no_manifest(catalog: Catalog) -> None:
    commit = _stage(catalog, "next", 1)
    image = next(reversed(catalog.manifests._cache._kept))
    assert catalog._blob_index.give_up([BlobRecord(image, 1)], since=time.time() + 1)
    with pytest.raises(ManifestUnknown):
        commit()


def test_a_blob_that_comes_in_waits_for_the_database_five_times(catalog: Catalog, trips: "Counter[str]") -> None:
    """For whether it is leased already, twice; for the transaction; for its lock; for the rows with the COMMIT."""
    catalog.content.put(b"blob", Digest.of(b"blob"), "team/app")
    assert trips == {"batches": 1, "statements": 4}
