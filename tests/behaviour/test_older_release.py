"""A home of an older release opens, serves and syncs as before (tests/vectors/before-rooms)."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from oci.memory import MemoryStore
from tests.api.conftest import serve
from tests.mirror import mirror
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
