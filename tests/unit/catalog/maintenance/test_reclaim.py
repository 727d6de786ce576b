"""Which layers may lose their bytes: those that came on demand and that nobody has fetched or pulled of late."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalog.blobs.origins import Origin
from catalog.catalog import Catalog
from catalog.pull_counts import PullCount, Pulled
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, SetTag
from oci import mediatypes
from oci.digest import Digest
from tests.homes import new_home
from tests.unit.catalog.conftest import commit_to, stage_blob, stage_manifest

pytestmark = pytest.mark.usefixtures("holdings")
NAME = "cache/team/app"
HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(home: Path, clock: Clock) -> Iterator[Catalog]:
    with Catalog(read_settings(home=new_home(home)), clock=clock) as opened:
        yield opened


def _bring(catalog: Catalog, text: str) -> tuple[Digest, Digest]:
    """An image whose layer was left upstream and has been fetched since; its digest and the layer's."""
    layer = text.encode()
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {"mediaType": mediatypes.OCI_CONFIG, **stage_blob(catalog, NAME, json.dumps({"of": text}).encode())},
        "layers": [{"mediaType": mediatypes.OCI_LAYER_GZIP, "digest": Digest.of(layer), "size": len(layer)}],
    }
    image = stage_manifest(catalog, NAME, document, mediatypes.OCI_MANIFEST)
    origin = Origin(f"registry.example/{NAME}", "on_demand")
    changes = (AddManifest(image), SetTag(text, image.digest))
    commit_to(catalog, NAME, *changes, origin=origin, operation="pull-through", operation_id=text)
    catalog.content.put(layer, Digest.of(layer), NAME)
    return image.digest, Digest.of(layer)


def _free(catalog: Catalog, keep: float) -> set[Digest]:
    return {blob.digest for blob in catalog.maintenance.reclaimable([NAME], keep=keep)}


def test_what_was_fetched_or_pulled_of_late_stays(catalog: Catalog, clock: Clock) -> None:
    (one, first), (_, second) = _bring(catalog, "one"), _bring(catalog, "two")
    clock.now += timedelta(hours=2)
    assert _free(catalog, 3 * HOUR) == set()
    assert _free(catalog, HOUR) == {first, second}
    catalog.pulls.record({Pulled(NAME, "one", one): PullCount(1, clock.now - timedelta(minutes=10))})
    held = catalog.maintenance.reclaimable([NAME], keep=300.0)
    assert {blob.digest for blob in held} == {first, second}
    assert _free(catalog, HOUR) == {second}
    assert {blob.digest for blob in catalog.maintenance.reclaim(held, [NAME], keep=HOUR)} == {
        second
    }  # pulled since it was found
    assert catalog.content.size(first) is not None


def test_a_pull_that_could_not_be_told_apart_may_have_been_of_anything(catalog: Catalog, clock: Clock) -> None:
    _bring(catalog, "one")
    clock.now += timedelta(hours=2)
    catalog.pulls.record({Pulled("other", "", ""): PullCount(1, clock.now)})
    assert len(_free(catalog, HOUR)) == 1
    catalog.pulls.record({Pulled(NAME, "", ""): PullCount(1, clock.now)})
    assert _free(catalog, HOUR) == set()


def test_what_a_cache_has_brought_and_when_it_was_used(catalog: Catalog, clock: Clock) -> None:
    (one, first), (two, second) = _bring(catalog, "one"), _bring(catalog, "two")
    commit_to(catalog, "cache/by/hand", operation_id="hand")
    fetched, later = clock.now, datetime.now(UTC) + timedelta(hours=1)
    catalog.pulls.record({Pulled(NAME, "", one): PullCount(1, later)})
    last = {blob.blob.digest: blob.last_used for blob in catalog.maintenance.caches.blobs([NAME])}
    assert (last[first], last[second]) == (later, fetched)
    uses = catalog.maintenance.caches.uses([NAME], later)[NAME]
    assert (uses.of_tag("one"), uses.of_manifest(one)) == (later, later)
    assert uses.of_tag("two") < later
    assert uses.of_manifest(two) < later
    assert catalog.maintenance.caches.live_blobs([NAME]) >= {(NAME, first), (NAME, second)}
