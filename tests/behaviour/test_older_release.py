"""A home of an older release opens, serves, syncs and scrubs as before; its bundle is imported (tests/vectors/before-rooms)."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from oci.digest import Digest
from oci.memory import MemoryStore
from tests.api.conftest import serve
from tests.cli.commands import Entrepot, PrefectServer
from tests.mirror import mirror
from tests.servers import Children
from tests.upstream import Upstream

VECTOR = Path(__file__).parents[1] / "vectors" / "before-rooms"
CONTENT: dict[str, Any] = json.loads((VECTOR / "content.json").read_text())
HOST = f"127.0.0.1:{CONTENT['port']}"


def unpack(name: str, target: Path) -> None:
    with tarfile.open(VECTOR / name) as archive:
        archive.extractall(target, filter="data")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    unpack("home.tar.gz", tmp_path)
    return tmp_path / "home"


@pytest.fixture
def prefect(session_prefect: PrefectServer) -> PrefectServer:
    return session_prefect


def stores() -> dict[str, MemoryStore]:
    """What the upstream of that home held."""
    made = {}
    for name, content in CONTENT["upstream"].items():
        made[name] = store = MemoryStore(name)
        for raw in content["manifests"]:
            store.put_manifest(raw.encode(), json.loads(raw)["mediaType"])
        for data in content["blobs"]:
            store.put_blob(bytes.fromhex(data), "application/octet-stream")
        for tag, digest in content["tags"].items():
            store.put_tag(tag, digest)
    return made


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """The upstream that the home names, on the port that it names."""
    running = Upstream(stores())
    running._server._server.config.port = CONTENT["port"]
    with running:
        yield running


def test_every_path_serves_what_it_served_and_private_stays_private(home: Path, upstream: Upstream) -> None:
    with serve(home) as api:
        for path, digest in CONTENT["paths"].items():
            name, tag = path.split(":")
            found = api.admin.get(f"/v2/{name}/manifests/{tag}")
            assert (found.status_code, found.headers["docker-content-digest"]) == (200, digest), path
            refused = api.anybody.get(f"/v2/{name}/manifests/{tag}").status_code
            assert refused == (401 if name in CONTENT["private"] else 200), path


def test_a_layer_left_upstream_is_fetched_from_there(home: Path, upstream: Upstream) -> None:
    with serve(home) as api:
        upstream.forget()
        for name in ("team/late", "team/streamed"):
            (layer,) = api.anybody.get(f"/v2/{name}/manifests/absent").json()["layers"]
            assert api.anybody.get(f"/v2/{name}/blobs/{layer['digest']}").content == b"absent" * 500
    assert upstream.counts["GET", "blob"] >= 1


def test_another_sync_changes_nothing(home: Path, upstream: Upstream) -> None:
    for fields in ({}, {"policy": "on_demand"}):
        name = "team/late" if fields else "team/app"
        assert mirror(home, f"{HOST}/{name}", **fields).changed is False
    assert upstream.counts["GET", "blob"] == 0


def test_opened_twice_it_is_the_same(home: Path) -> None:
    found = []
    for _ in range(2):
        with open_catalog(read_settings(home=home)) as catalog:
            names = ("team/app", "team/late", "team/streamed")
            found.append([catalog.history.versions(name) for name in names])
    assert found[0] == found[1]
    assert all(found[0])


def test_rows_of_every_former_shape_are_flushed_and_kept(home: Path) -> None:
    with open_catalog(read_settings(home=home)) as catalog:
        before = {name: catalog.snapshots.get(name).tags for name in ("team/app", "team/late", "team/streamed")}
        steps = list(catalog.maintenance.steps(keep_snapshots=0, grace=0))
        assert sum(step.done for step in steps if step.name == "flush-rows") > 0
        assert {name: catalog.snapshots.get(name).tags for name in before} == before
    with serve(home) as api:
        for path in ("team/app/manifests/odd", "team/late/manifests/fetched"):
            assert api.anybody.get(f"/v2/{path}").status_code == 200


@pytest.mark.slow
def test_what_is_damaged_is_found_and_fetched_again(
    home: Path, upstream: Upstream, children: Children, prefect: PrefectServer
) -> None:
    entrepot = Entrepot(home, children, {"ENTREPOT_PREFECT_API_URL": prefect.api_url})
    files = {path: path.read_bytes() for path in (home / "blobs" / "sha256").rglob("*") if path.is_file()}
    assert entrepot.json("scrub", "--rate", "0")["read"]["blobs"] == len(files)
    digests = [CONTENT["paths"]["team/app:v1"], *upstream_layers("team/app", "v1")]
    for digest in digests:
        damaged = home / "blobs" / "sha256" / digest[7:9] / digest[7:]
        damaged.write_bytes(b"?" * len(files[damaged]))
    result = entrepot.json("scrub", "--rate", "0")
    assert set(result["damaged"]) == set(result["fetched_again"]) == set(digests)
    assert set(result["fetched_again"].values()) == {f"{HOST}/team/app"}
    assert {path: path.read_bytes() for path in files} == files


def upstream_layers(name: str, tag: str) -> list[str]:
    """Return the digests of the layers that a tag's image had upstream."""
    store = stores()[name]
    return [layer.digest for layer in store.manifests[store.tagged[tag]].layers]


@pytest.mark.slow
def test_its_bundle_is_imported_and_pulled(tmp_path: Path, children: Children, prefect: PrefectServer) -> None:
    unpack("bundle.tar.gz", tmp_path)
    entrepot = Entrepot(tmp_path / "new", children, {"ENTREPOT_PREFECT_API_URL": prefect.api_url})
    (imported,) = entrepot.json("import", str(tmp_path / "bundle.tar"))["repositories"]
    assert (imported["repository"], imported["changed"]) == ("team/app", True)
    expected = {path: digest for path, digest in CONTENT["paths"].items() if path.startswith("team/app:")}
    with serve(entrepot.home) as api:
        for path, digest in expected.items():
            name, tag = path.split(":")
            assert api.anybody.get(f"/v2/{name}/manifests/{tag}").headers["docker-content-digest"] == digest
            manifest = api.anybody.get(f"/v2/{name}/manifests/{digest}")
            assert Digest.of(manifest.content) == digest
            for part in manifest.json().get("layers", []):
                assert Digest.of(api.anybody.get(f"/v2/{name}/blobs/{part['digest']}").content) == part["digest"]
    assert entrepot.json("scrub", "--rate", "0")["lost"] == []
    assert entrepot.json("import", str(tmp_path / "bundle.tar"))["repositories"][0]["changed"] is False
