"""Retiring content: DELETE makes versions, gc frees what none holds, and never what a push under way needs."""

import threading
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import serve
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import EntrepotFactory
from tests.servers import Client
from tests.unit.catalog.conftest import push_image

NAME = "team/app"


@pytest.mark.slow
def test_usage_delete_and_gc(
    entrepot: Entrepot, prefect: PrefectServer, entrepot_server: EntrepotFactory, skopeo: Client, tmp_path: Path
) -> None:
    layer = "shared by three repositories " * 1000
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        for repository in ("a/one", "b/two", "c/three"):
            push_image(catalog, repository, "v1", repository, (layer,))
        loose = b"an upload whose manifest never came"
        catalog.content.put(loose, Digest.of(loose), NAME)
    stored = list((entrepot.home / "blobs").rglob(Digest.of(layer.encode()).encoded))
    assert len(stored) == 1

    usage = entrepot.json("usage")
    assert usage["saved_bytes"] == 2 * len(layer)
    assert usage["loose_bytes"] == len(loose)
    assert usage["held"]["bytes"] == usage["used_bytes"] + len(loose)
    assert {one["name"]: one["shared"] for one in usage["repositories"]} == dict.fromkeys(
        ("a/one", "b/two", "c/three"), len(layer)
    )
    assert "saved by sharing" in entrepot("usage").stdout

    server = entrepot_server(entrepot.home)
    skopeo("delete", "--tls-verify=false", f"--creds={server.creds}", f"docker://{server.host}/a/one:v1")
    assert [row["operation"] for row in entrepot.json("version", "list", "a/one")] == ["delete", "test"]
    kept = entrepot.json("gc")
    assert (kept["freed"]["blobs"], kept["kept_by_grace"]) == (0, 1)
    planned = entrepot.json("gc", "--grace", "0", "--dry-run")
    assert planned["digests"] == [Digest.of(loose)]
    result = entrepot.json("gc", "--grace", "0")
    assert result["freed"] == {"blobs": 1, "bytes": len(loose)}
    assert prefect.flow_run(result["flow_run_id"])["state"]["message"].startswith("freed 1 blobs")
    # Old versions keep their content: the deleted image comes back with them.
    assert entrepot.json("version", "restore", "a/one", "1")["changed"]
    skopeo("copy", "--src-tls-verify=false", f"docker://{server.host}/a/one:v1", f"dir:{tmp_path / 'back'}")
    assert entrepot("gc", "--grace", "-1").returncode == 2


@pytest.mark.slow
def test_gc_all_the_time_loses_no_push(tmp_path: Path) -> None:
    """Many pushes, deletes and pushes of the same content again, under a gc whose grace a push stays within."""
    with serve(tmp_path / "entrepot") as api, open_catalog(api.catalog.settings) as collector:
        stop, freed, failures = threading.Event(), [], []

        def collect() -> None:
            while not stop.is_set():
                try:
                    freed.append(len(collector.maintenance.sweep(grace=2.0).freed))
                except BaseException as error:
                    failures.append(error)
                    raise

        thread = threading.Thread(target=collect)
        thread.start()
        try:
            for number in range(60):
                store = MemoryStore()
                image = pack_image(store, [{"shared": "by all"}, {"own": str(number)}])
                orphan = f"orphan {number}".encode()
                api.push_blob(NAME, orphan)
                api.push(NAME, f"t{number}", store, image)
                raw = api.anybody.get(f"/v2/{NAME}/manifests/t{number}").content
                assert raw == image.raw
                for blob in (image.config, *image.layers):
                    assert blob is not None
                    got = api.anybody.get(f"/v2/{NAME}/blobs/{blob.digest}")
                    assert got.content == store.blobs[blob.digest]
        finally:
            stop.set()
            thread.join(60)
        assert not failures
        assert len(freed) > 1
        assert collector.maintenance.sweep(grace=0.0).freed
        for number in range(60):
            manifest = api.anybody.get(f"/v2/{NAME}/manifests/t{number}").json()
            for part in (manifest["config"], *manifest["layers"]):
                assert api.anybody.get(f"/v2/{NAME}/blobs/{part['digest']}").status_code == 200
