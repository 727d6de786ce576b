"""Pushes beside deletions of the same content: what was acknowledged last is what there is, whole."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from oci.manifest import Manifest, required_blobs
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, serve

NAME = "team/app"
PUSHERS, ROUNDS = 6, 12


def _push(client: httpx.Client, tag: str, store: MemoryStore, image: Manifest, *, tries: int) -> None:
    """Push as clients do, and again what was deleted or collected under their hands."""
    for _ in range(tries):
        for blob in required_blobs(image):
            path = f"/v2/{NAME}/blobs/{blob.digest}"
            if client.head(path).status_code == 404:
                params = {"digest": blob.digest}
                content = store.blobs[blob.digest]
                done = client.post(f"/v2/{NAME}/blobs/uploads/", params=params, content=content)
                assert done.status_code == 201, done.text
        headers = {"Content-Type": image.media_type}
        answer = client.put(f"/v2/{NAME}/manifests/{tag}", content=image.raw, headers=headers)
        if answer.status_code == 201:
            return
        assert answer.status_code == 400, answer.text
        assert answer.json()["errors"][0]["code"] == "MANIFEST_BLOB_UNKNOWN"
    raise AssertionError(f"{tag} could not be pushed in {tries} tries")


def _whole(client: httpx.Client, tag: str, store: MemoryStore, image: Manifest) -> None:
    assert client.get(f"/v2/{NAME}/manifests/{tag}").content == image.raw
    for blob in required_blobs(image):
        assert client.get(f"/v2/{NAME}/blobs/{blob.digest}").content == store.blobs[blob.digest]


@pytest.mark.parametrize(("blobs_too", "grace", "tries"), [(False, 60.0, 1), (True, 0.0, 50)])
def test_pushes_beside_deletions_and_collections(tmp_path: Path, blobs_too: bool, grace: float, tries: int) -> None:
    """Clients push images that share a layer, and delete them again by tag and by digest, under a gc that never rests.

    No push fails for it. Only where each blob is deleted too, and the gc has no grace, it takes several tries.
    """
    with serve(tmp_path / "entrepot") as api, ThreadPoolExecutor(PUSHERS) as pool:
        stop = threading.Event()

        def collect() -> int:
            runs = 0
            while not stop.is_set():
                api.catalog.maintenance.sweep(grace=grace)
                runs += 1
            return runs

        def one(number: int) -> None:
            with api.client(auth=("admin", api.password)) as client:
                for step in range(ROUNDS):
                    store = MemoryStore()
                    image = pack_image(store, [{"shared": "by all"}, {"own": f"{number} {step % 2}"}])
                    _push(client, f"t{number}", store, image, tries=tries)
                    _whole(client, f"t{number}", store, image)
                    if step == ROUNDS - 1:
                        return
                    what = f"t{number}" if step % 3 else image.digest
                    assert client.delete(f"/v2/{NAME}/manifests/{what}").status_code == 202
                    assert client.head(f"/v2/{NAME}/manifests/{what}").status_code == 404
                    for blob in required_blobs(image) if blobs_too else ():
                        gone = client.delete(f"/v2/{NAME}/blobs/{blob.digest}").status_code
                        assert gone in {202, 404, 409}  # let go of; by another; needed by another

        with ThreadPoolExecutor(1) as collecting:
            collector = collecting.submit(collect)
            try:
                for _ in pool.map(one, range(PUSHERS)):
                    pass
            finally:
                stop.set()
            assert collector.result(60) > 0
        _ends_whole(api)


def _ends_whole(api: Api) -> None:
    for number in range(PUSHERS):
        store = MemoryStore()
        image = pack_image(store, [{"shared": "by all"}, {"own": f"{number} {(ROUNDS - 1) % 2}"}])
        _whole(api.anybody, f"t{number}", store, image)
    assert len(api.anybody.get(f"/v2/{NAME}/tags/list").json()["tags"]) == PUSHERS
