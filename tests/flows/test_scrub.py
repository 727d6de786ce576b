"""A damaged blob is found while others are pulled, fetched again where that is possible, and else names what it hits."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.distributions.records import Distribution
from catalog.settings import read_settings
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import serve
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import DockerRegistryFactory
from tests.mirror import upload

NAME = "team/app"


def _files(home: Path) -> list[Path]:
    return [path for path in (home / "blobs" / "sha256").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_damage_is_mended_from_where_the_sync_came(
    entrepot: Entrepot, prefect: PrefectServer, docker_registry: DockerRegistryFactory
) -> None:
    upstream = docker_registry()
    upload(upstream, NAME, "v1", "one", "two" * 1000)
    entrepot.json("sync", f"{upstream.host}/{NAME}", NAME)
    before = {path: path.read_bytes() for path in _files(entrepot.home)}
    for number, (path, data) in enumerate(before.items()):
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1])) if number % 2 else path.unlink()
    result = entrepot.json("scrub", "--rate", "0")
    assert result["damaged"].keys() == result["fetched_again"].keys()
    assert len(result["damaged"]) == len(before) == result["read"]["blobs"]
    assert (result["lost"], result["hits"]) == ([], [])
    assert {path: path.read_bytes() for path in _files(entrepot.home)} == before
    assert prefect.artifacts(result["flow_run_id"]).keys() >= {"table"}
    assert len(entrepot.json("event", "list", "--action", "quarantine")) == len(before)

    # Without upstream the same damage is a loss, and the next sync brings what is lost, without a new version.
    upstream.child.kill()
    entrepot.env["ENTREPOT_UPSTREAM_ATTEMPTS"] = "1"
    for path in before:
        path.unlink()
    failed = entrepot("scrub", "--rate", "0")
    assert failed.returncode == 1
    assert f"of {NAME} version 1-, tags v1, served at {NAME}" in failed.stderr
    again = docker_registry(storage=upstream.storage)
    synced = entrepot.json("sync", f"{again.host}/{NAME}", NAME)
    assert synced["changed"] is False
    assert {path: path.read_bytes() for path in _files(entrepot.home)} == before
    assert entrepot.json("scrub", "--rate", "0")["lost"] == []


def _damage(home: Path) -> dict[Path, bytes]:
    """Damage all that is held; return what it was."""
    before = {path: path.read_bytes() for path in _files(home)}
    for number, (path, data) in enumerate(before.items()):
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1])) if number % 2 else path.unlink()
    return before


def _parts(index: Manifest, home: Path) -> set[str]:
    """The digests of an index here, and of all that it is made of."""
    with open_catalog(read_settings(home=home)) as catalog:
        image = catalog.manifests.read_descriptor(index.manifests[0])
    return {index.digest, image.digest, *(part.digest for _, part in image.children())}


@pytest.mark.slow
def test_a_blend_and_caches_are_healed_from_the_upstream_that_lives_and_the_other_is_named(
    entrepot: Entrepot, docker_registry: DockerRegistryFactory
) -> None:
    first, second = docker_registry(), docker_registry()
    images = [upload(first, NAME, "v1", "first's"), upload(second, NAME, "v2", "second's")]
    cached = [upload(first, "lib/tool", "v1", "first's tool"), upload(second, "lib/tool", "v1", "second's tool")]
    entrepot.json("sync", f"{first.host}/{NAME}", "--also", f"{second.host}/{NAME}", NAME)
    with serve(entrepot.home) as api:
        for path, registry, index in zip(("one", "two"), (first, second), cached, strict=True):
            now = datetime.now(UTC)
            cache = Distribution(path, "", now, now, remote=registry.host, fresh_seconds=3600)
            api.catalog.distributions.put(cache, actor="admin")
            for reference in ("v1", index.manifests[0].digest):
                got = api.anybody.get(f"/v2/{path}/lib/tool/manifests/{reference}")
                assert got.status_code == 200
            for layer in got.json()["layers"]:
                assert api.anybody.get(f"/v2/{path}/lib/tool/blobs/{layer['digest']}").status_code == 200
    shown = entrepot.json("version", "show", NAME)
    assert [(one["kind"], one["name"]) for one in shown["origins"]] == [
        ("remote", f"{first.host}/{NAME}"), ("remote", f"{second.host}/{NAME}"),
    ]  # fmt: skip
    lost = _parts(images[0], entrepot.home) | _parts(cached[0], entrepot.home)
    lives = _parts(images[1], entrepot.home) | _parts(cached[1], entrepot.home)
    before = _damage(entrepot.home)

    first.child.kill()
    entrepot.env["ENTREPOT_UPSTREAM_ATTEMPTS"] = "1"
    failed = entrepot.json("scrub", "--rate", "0", code=1)["error"]
    told = failed["detail"]
    assert told["fetched_again"].keys() == lives
    assert set(told["fetched_again"].values()) == {f"{second.host}/{NAME}", f"{second.host}/lib/tool"}
    assert {hit["digest"] for hit in told["hits"]} == set(told["lost"])
    assert set(told["lost"]) < lost - lives  # a pull fetches a cache's layer, which is not lost
    assert lost - lives <= told["not_given"].keys()
    manifest = images[0].digest
    line = next(line for line in failed["message"].splitlines() if line.startswith(f"{manifest} of {NAME} "))
    assert f"lost; {first.host}/{NAME} did not answer" in line
    assert f"{second.host}/{NAME} does not have it" in line
    explained = entrepot.json("gc", "--explain", manifest)["reasons"]
    assert f"a scrub asks for it: {first.host}/{NAME}, {second.host}/{NAME}" in explained

    # A scrub after its return finds what the last one could not have, without reading it again.
    again = docker_registry(storage=first.storage, port=int(first.host.rpartition(":")[2]))
    result = entrepot.json("scrub", "--rate", "0")
    assert (result["lost"], result["hits"]) == ([], [])
    assert result["fetched_again"].keys() == lost - lives
    assert set(result["fetched_again"].values()) == {f"{again.host}/{NAME}", f"{again.host}/lib/tool"}
    assert {path: path.read_bytes() for path in _files(entrepot.home)} == before


@pytest.mark.slow
def test_a_loss_is_named_beside_pulls_and_a_push_heals_it(entrepot: Entrepot, tmp_path: Path) -> None:
    with serve(entrepot.home) as api:
        store = MemoryStore()
        image, other = pack_image(store, [{"a": "damaged"}]), pack_image(store, [{"b": "whole"}])
        api.push(NAME, "v1", store, image)
        api.push("other/app", "v1", store, other)
        digest, whole = image.layers[0].digest, other.layers[0].digest
        path = entrepot.home / "blobs" / "sha256" / digest.encoded[:2] / digest.encoded
        assert api.anybody.get(f"/v2/{NAME}/blobs/{digest}").content == store.blobs[digest]
        path.write_bytes(store.blobs[digest][:-1] + b"?")
        stop, wrong = threading.Event(), list[int]()

        def pull() -> None:
            with api.client() as client:
                while not stop.is_set():
                    got = client.get(f"/v2/other/app/blobs/{whole}")
                    if got.content != store.blobs[whole]:
                        wrong.append(got.status_code)

        thread = threading.Thread(target=pull)
        thread.start()
        try:
            lost = entrepot.json("scrub", "--rate", "10MB", code=1)["error"]["detail"]
        finally:
            stop.set()
            thread.join(30)
        assert not wrong
        assert lost["lost"] == [digest]
        assert lost["hits"] == [
            {"digest": digest, "repository": NAME, "versions": "1-", "tags": ["v1"], "paths": [NAME]}
        ]
        assert api.anybody.get(f"/v2/{NAME}/blobs/{digest}").status_code == 404
        assert api.admin.head(f"/v2/{NAME}/blobs/{digest}").status_code == 404  # so the push brings it
        api.push(NAME, "v1", store, image)
        assert api.anybody.get(f"/v2/{NAME}/blobs/{digest}").content == store.blobs[digest]
    assert entrepot.json("scrub")["lost"] == []
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        assert catalog.snapshots.find(NAME) is not None
        assert Digest.of(catalog.content.read(digest)) == digest
