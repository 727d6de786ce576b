"""The cost of a push, counted: calls on threads, syncs and transactions for each blob and for the manifest."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, random_blob


@pytest.fixture
def counted(own_api: Api, monkeypatch: pytest.MonkeyPatch) -> "Counter[str]":
    """Counts from now on: threads begun with, syncs of files and folders, transactions of the blob index."""
    counts: Counter[str] = Counter()

    def count(owner: object, method: str, name: str) -> None:
        real: Callable[..., object] = getattr(owner, method)

        def counting(*args: object, **options: object) -> object:
            counts[name] += 1
            return real(*args, **options)

        monkeypatch.setattr(owner, method, counting)

    count(ThreadPoolExecutor, "submit", "threads")
    count(os, "fsync", "syncs")
    count(own_api.catalog._blob_index, "ingest", "transactions")
    return counts


def _push_as_podman_does(api: Api, data: bytes) -> None:
    digest = Digest.of(data)
    assert api.admin.head(f"/v2/team/app/blobs/{digest}").status_code == 404
    location = api.admin.post("/v2/team/app/blobs/uploads/").headers["location"]
    location = api.admin.patch(location, content=data).headers["location"]
    assert api.admin.put(location, params={"digest": digest}).status_code == 201


def _make_known(api: Api) -> None:
    """Push an image, so that the repository, its folders and the login are known."""
    store = MemoryStore()
    api.push("team/app", "first", store, pack_image(store, [{"first": "layer"}]))


@pytest.mark.embedded
def test_a_small_blob_takes_a_thread_for_each_request_two_syncs_and_a_transaction(
    own_api: Api, counted: "Counter[str]"
) -> None:
    _make_known(own_api)
    counted.clear()
    _push_as_podman_does(own_api, random_blob(20_000))
    assert counted == {"threads": 3, "syncs": 2, "transactions": 1}


@pytest.mark.embedded
def test_a_blob_in_one_request_takes_one_thread(own_api: Api, counted: "Counter[str]") -> None:
    _make_known(own_api)
    counted.clear()
    own_api.push_blob("team/app", random_blob(20_000))
    assert counted == {"threads": 1, "syncs": 2, "transactions": 1}


@pytest.mark.embedded
def test_a_manifest_takes_one_thread(own_api: Api, counted: "Counter[str]") -> None:
    _make_known(own_api)
    store = MemoryStore()
    image = pack_image(store, [{"second": "layer"}])
    for data in store.blobs.values():
        own_api.push_blob("team/app", data)
    counted.clear()
    assert own_api.put_manifest("team/app", "second", image.raw, image.media_type).status_code == 201
    assert counted["threads"] == 1
    assert counted["transactions"] == 1
    assert counted["syncs"] <= 3  # the third is the commit's, where it is written directly


@pytest.mark.local_blobs("of folders and their syncs")
def test_all_folders_of_an_algorithm_are_made_with_the_first_blob(own_api: Api, counted: "Counter[str]") -> None:
    """Each is synced once at most, not with the first blob of each."""
    folder = own_api.catalog.settings.root / "blobs" / "sha512"
    assert not folder.exists()
    own_api.push_blob("team/app", random_blob(10), "sha512")
    assert len(list(folder.iterdir())) == 256
    counted.clear()
    own_api.push_blob("team/app", random_blob(10), "sha512")
    assert counted["syncs"] == 2
