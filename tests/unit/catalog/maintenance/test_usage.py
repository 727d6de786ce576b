"""One layer in three repositories is stored once, and the usage says what that saves."""

from pathlib import Path

from catalog.catalog import Catalog
from catalog.versions.changes import RemoveManifest
from oci.digest import Digest
from tests.unit.catalog.conftest import commit_to, push_image

LAYER = "a layer that three repositories share " * 100


def test_shared_layers_are_stored_and_counted_once(catalog: Catalog, home: Path) -> None:
    assert (
        catalog.maintenance.usage().held,
        catalog.maintenance.usage().saved,
        catalog.maintenance.usage().repositories,
    ) == (0, 0, ())
    for name in ("a", "b", "c"):
        push_image(catalog, name, "v1", name, (LAYER,))
    usage = catalog.maintenance.usage()
    assert len(list((home / "blobs").rglob(Digest.of(LAYER.encode()).encoded))) == 1
    assert usage.saved == 2 * len(LAYER)
    assert usage.held == usage.used
    assert usage.loose == 0
    assert [(one.name, one.shared) for one in usage.repositories] == [(name, len(LAYER)) for name in "abc"]
    assert usage.held == sum(one.own for one in usage.repositories) + len(LAYER)


def test_old_versions_and_loose_uploads_count(catalog: Catalog) -> None:
    snapshot = push_image(catalog, "a", "v1", "a", (LAYER,)).snapshot
    before = catalog.maintenance.usage()
    commit_to(catalog, "a", RemoveManifest(snapshot.tags["v1"]))
    assert catalog.maintenance.usage() == before
    catalog.content.put(b"loose", Digest.of(b"loose"), "a")
    assert catalog.maintenance.usage().loose == len(b"loose")
    assert catalog.maintenance.usage().blobs == before.blobs + 1
