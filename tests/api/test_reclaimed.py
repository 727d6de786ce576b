"""Layers whose bytes were given back are fetched again by each repository from its own source, and by no other right."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.remotes.clients import Upstreams
from flows.runs.absent_blobs import fetch_blob
from flows.storage.prefetch_flow import PrefetchJob, _find_absent
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import serve
from tests.mirror import mirror
from tests.servers import wait_until
from tests.upstream import Upstream

NAME = "team/app"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"file": os.urandom(40_000).hex()}]).digest)
    with Upstream({NAME: store}) as running:
        yield running


def test_given_back_and_fetched_again(tmp_path: Path, upstream: Upstream) -> None:
    store = upstream.repositories[NAME]
    layer = store.manifests[store.tagged["v1"]].layers[0].digest
    for name in ("one/app", "two/app"):
        mirror(tmp_path / "entrepot", f"{upstream.host}/{NAME}", repository=name, policy="on_demand")
    with serve(tmp_path / "entrepot", upstream_attempts=1) as api:
        catalog = api.catalog
        path = f"/v2/one/app/blobs/{layer}"
        assert api.anybody.get(path).content == store.blobs[layer]
        wait_until(lambda: catalog.content.size(layer) is not None, 10, "it is kept")
        upstream.forget()
        assert api.anybody.get(f"/v2/two/app/blobs/{layer}").content == store.blobs[layer]
        assert not upstream.seen, "a public path serves it"
        catalog.maintenance.sweep(grace=-1)
        assert api.anybody.get(path).content == store.blobs[layer]
        assert not catalog.maintenance.reclaimable(["one/app"], keep=-1), "another repository names it"
        blobs = catalog.maintenance.reclaimable(["one/app", "two/app"], keep=-1)
        assert [blob.digest for blob in blobs] == [layer]
        assert catalog.maintenance.reclaim(blobs, ["one/app", "two/app"], keep=-1) == blobs
        assert catalog.maintenance.usage().upstream == len(store.blobs[layer])
        assert api.anybody.get(path).content == store.blobs[layer]
        assert upstream.counts["GET", "blob"] == 1
        wait_until(lambda: catalog.content.size(layer) is not None, 10, "it is kept")

        async def prefetch() -> int:
            job = PrefetchJob(catalog, ["one/app", "two/app"])
            _find_absent(job)
            async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
                for blob in job.absent:
                    await fetch_blob(catalog, upstreams, blob)
            return len(job.absent)

        assert asyncio.run(prefetch()) == 1, "the other repository has no lease yet"
        assert asyncio.run(prefetch()) == 0
        assert upstream.counts["GET", "blob"] == 1
        assert catalog.maintenance.usage().upstream == 0
