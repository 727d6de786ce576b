"""What it costs to sync layers that are held already, counted in requests: nothing is fetched twice that needs no proof."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.distributions.records import Distribution
from catalog.settings import read_settings
from flows.sync.request import SyncRequest
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.flows.conftest import at_a_fixed_time
from tests.mirror import synced
from tests.upstream import Upstream

SHARED = [{"base": "one " * 100}, {"base": "two " * 100}, {"base": "three " * 100}]


def store_of(own: str) -> tuple[MemoryStore, Manifest]:
    """An image of three layers that others have too, and one of its own."""
    store = MemoryStore()
    image = pack_image(store, [*SHARED, {"own": own}])
    store.put_tag("v1", image.digest)
    return store, image


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream({"team/one": store_of("one")[0], "team/two": store_of("two")[0]}) as running:
        yield running


@pytest.fixture
def elsewhere() -> Iterator[Upstream]:
    with Upstream({"team/three": store_of("three")[0]}) as running:
        yield running


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(read_settings(home=tmp_path / "entrepot")) as opened:
        yield opened


def sync(catalog: Catalog, upstream: Upstream, name: str) -> dict[str, int]:
    """Sync a repository; return how often its registry was asked for the blobs that others have too, by method."""
    upstream.forget()
    request = SyncRequest.model_validate({"remote": f"{upstream.host}/{name}", "repository": name})
    asyncio.run(synced(catalog, request, clock=at_a_fixed_time))
    shared = {layer.digest for layer in store_of("any")[1].layers[:3]}
    asked = [one.method for one in upstream.seen if one.route == "blob" and Digest(one.reference) in shared]
    return {method: asked.count(method) for method in ("HEAD", "GET")}


def make_private(catalog: Catalog, name: str) -> None:
    now = at_a_fixed_time()
    catalog.distributions.put(Distribution(name, name, now, now, private=True), actor="admin")


def test_what_a_public_path_serves_costs_no_request(catalog: Catalog, upstream: Upstream, elsewhere: Upstream) -> None:
    assert sync(catalog, upstream, "team/one") == {"HEAD": 0, "GET": 3}
    assert sync(catalog, upstream, "team/two") == {"HEAD": 0, "GET": 0}
    assert sync(catalog, elsewhere, "team/three") == {"HEAD": 0, "GET": 0}


def test_a_registry_that_has_sent_a_blob_is_believed_by_a_head(catalog: Catalog, upstream: Upstream) -> None:
    sync(catalog, upstream, "team/one")
    make_private(catalog, "team/one")
    assert sync(catalog, upstream, "team/two") == {"HEAD": 3, "GET": 0}
    assert sync(catalog, upstream, "team/two") == {"HEAD": 0, "GET": 0}


def test_another_registry_has_to_send_it_and_one_copy_is_kept(
    catalog: Catalog, upstream: Upstream, elsewhere: Upstream, tmp_path: Path
) -> None:
    sync(catalog, upstream, "team/one")
    make_private(catalog, "team/one")
    assert sync(catalog, elsewhere, "team/three") == {"HEAD": 0, "GET": 3}
    layer = store_of("any")[1].layers[0].digest
    assert len(list((tmp_path / "entrepot" / "blobs").rglob(layer.encoded))) == 1
    # It is on a public path by now, so that nobody has to prove anything any more.
    assert sync(catalog, upstream, "team/two") == {"HEAD": 0, "GET": 0}


def test_a_registry_that_does_not_have_it_in_that_repository_gets_nowhere(catalog: Catalog, upstream: Upstream) -> None:
    """The upstream's own rights count: a repository there that lacks the blob proves nothing."""
    sync(catalog, upstream, "team/one")
    make_private(catalog, "team/one")
    store, image = store_of("two")
    del store.blobs[image.layers[0].digest]
    upstream.repositories["team/two"] = store
    with pytest.raises(Exception, match="could not be copied"):
        sync(catalog, upstream, "team/two")
    assert catalog.snapshots.find("team/two") is None
