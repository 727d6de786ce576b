"""What a sync from a large upstream costs, counted in requests."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.flows.conftest import at_a_fixed_time
from tests.mirror import synced
from tests.upstream import Upstream

NAME, TAGS, PAGE = "team/large", 50_000, 1000
WANTED = ("t7", "t49999", "t20000")
Sync = Callable[..., SyncResult]


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    store = MemoryStore(NAME)
    images = [pack_image(store, [{"shared": "by all"}, {"own": str(number)}]) for number in range(10)]
    for number in range(TAGS):
        store.put_tag(f"t{number}", images[number % len(images)].digest)
    return store


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}, page=PAGE) as served:
        served.has_referrers = True
        yield served


@pytest.fixture
def sync(tmp_path: Path, upstream: Upstream) -> Iterator[Sync]:
    settings = read_settings(home=tmp_path / "entrepot")
    with open_catalog(settings) as catalog:

        def run(**request: object) -> SyncResult:
            asked = SyncRequest.model_validate({"remote": f"{upstream.host}/{NAME}", **request})
            return asyncio.run(synced(catalog, asked, clock=at_a_fixed_time))

        yield run


def test_three_named_tags_out_of_50000_cost_a_handful_of_requests(sync: Sync, upstream: Upstream) -> None:
    assert sync(include=WANTED, mode="mirror").counts["added"] == 3
    assert ("GET", "tags") not in upstream.counts
    upstream.forget()
    assert sync(include=WANTED, mode="mirror").counts["unchanged"] == 3
    assert upstream.counts["HEAD", "manifest"] == 3
    assert len(upstream.seen) < 10


def test_a_pattern_over_50000_tags_costs_one_listing_and_a_head_for_each_tag_it_takes(
    sync: Sync, upstream: Upstream
) -> None:
    assert sync(include=["re:t[0-9]"]).counts["added"] == 10
    assert upstream.counts["GET", "tags"] == TAGS // PAGE
    upstream.forget()
    assert sync(include=["re:t[0-9]"]).counts["unchanged"] == 10
    assert upstream.counts["GET", "tags"] == TAGS // PAGE
    assert upstream.counts["HEAD", "manifest"] == 10
    assert (
        upstream.counts["GET", "manifest"] + upstream.counts["GET", "referrers"] + upstream.counts["GET", "blob"] == 0
    )
