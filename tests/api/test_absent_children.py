"""Children that an index names and its repository was made without: fetched with the first request, or a 404 that says why."""

import concurrent.futures
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.blobs.origins import BlobSource
from catalog.versions.blob_sources import Sources
from catalog.versions.snapshot import Snapshot
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform
from tests.api.conftest import codes, serve
from tests.mirror import mirror
from tests.upstream import Upstream

NAME = "team/app"
MANIFESTS = f"/v2/{NAME}/manifests"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def children(store: MemoryStore) -> dict[str, Manifest]:
    """An index of two platforms as v1."""
    images = {name: pack_image(store, [{"file": name}]) for name in ("amd64", "arm64")}
    index = pack_index(store, [(image, Platform("linux", name)) for name, image in images.items()])
    store.put_tag("v1", index.digest)
    return images


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as running:
        yield running


def test_on_demand_it_comes_with_the_first_request_and_its_layers_too(
    upstream: Upstream, store: MemoryStore, children: dict[str, Manifest], tmp_path: Path
) -> None:
    home, absent = tmp_path / "entrepot", children["arm64"]
    mirror(home, f"{upstream.host}/{NAME}", policy="on_demand", platforms=["linux/amd64"])
    upstream.forget()
    with serve(home) as api:
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: api.anybody.get(f"{MANIFESTS}/{absent.digest}"), range(8)))
        assert [(one.status_code, one.content) for one in answers] == [(200, absent.raw)] * 8
        assert upstream.counts["GET", "manifest"] == 1
        for layer in absent.layers:
            assert api.anybody.get(f"/v2/{NAME}/blobs/{layer.digest}").content == store.blobs[layer.digest]
        assert [one.operation for one in api.catalog.history.versions(NAME)] == ["pull-through", "sync"]
        upstream.forget()
        assert api.anybody.head(f"{MANIFESTS}/{absent.digest}").status_code == 200
        assert upstream.seen == []


def test_elsewhere_it_is_a_404_that_says_why(upstream: Upstream, children: dict[str, Manifest], tmp_path: Path) -> None:
    home, absent = tmp_path / "entrepot", children["arm64"]
    mirror(home, f"{upstream.host}/{NAME}", platforms=["linux/amd64"])
    upstream.forget()
    with serve(home) as api:
        answer = api.anybody.get(f"{MANIFESTS}/{absent.digest}")
        assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_UNKNOWN"])
        assert answer.headers["warning"].startswith(f'299 - "{absent.digest} is named by the index ')
        assert "warning" in api.anybody.head(f"{MANIFESTS}/{absent.digest}").headers
        for reference in ("sha256:" + "0" * 64, "sha256:short", "v9"):
            assert "warning" not in api.anybody.get(f"{MANIFESTS}/{reference}").headers
        assert upstream.seen == []


def test_an_upstream_that_has_lost_it_or_is_down_is_told(
    upstream: Upstream, store: MemoryStore, children: dict[str, Manifest], tmp_path: Path
) -> None:
    home, absent = tmp_path / "entrepot", children["arm64"]
    mirror(home, f"{upstream.host}/{NAME}", policy="on_demand", platforms=["linux/amd64"])
    with serve(home, upstream_attempts=1) as api:
        upstream.fail(500, route="manifest", times=2)  # a HEAD that says nothing, and the GET
        assert api.anybody.get(f"{MANIFESTS}/{absent.digest}").status_code == 503
        del store.manifests[absent.digest]
        answer = api.anybody.get(f"{MANIFESTS}/{absent.digest}")
        assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_UNKNOWN"])
        assert api.anybody.get(f"{MANIFESTS}/v1").status_code == 200


def test_a_request_that_looked_before_another_brought_it_asks_no_more(
    upstream: Upstream, children: dict[str, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, absent = tmp_path / "entrepot", children["arm64"]
    mirror(home, f"{upstream.host}/{NAME}", policy="on_demand", platforms=["linux/amd64"])
    upstream.forget()
    first_is_served, second_has_looked = threading.Event(), threading.Event()
    origin_of, calls = Sources.origin_of, itertools.count()

    def slow_origin_of(self: Sources, version: Snapshot) -> BlobSource | None:
        if next(calls) == 0:
            assert second_has_looked.wait(20)
        else:
            second_has_looked.set()
            assert first_is_served.wait(20)
        return origin_of(self, version)

    monkeypatch.setattr(Sources, "origin_of", slow_origin_of)
    with serve(home) as api, concurrent.futures.ThreadPoolExecutor(2) as threads:
        path = f"{MANIFESTS}/{absent.digest}"
        both = [threads.submit(api.anybody.get, path) for _ in range(2)]
        done, _ = concurrent.futures.wait(both, timeout=20, return_when=concurrent.futures.FIRST_COMPLETED)
        assert [one.result().status_code for one in done] == [200]
        first_is_served.set()
        assert [one.result().status_code for one in both] == [200, 200]
    assert upstream.counts["GET", "manifest"] == 1
