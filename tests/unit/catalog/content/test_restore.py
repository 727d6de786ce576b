"""A restored version equals the old one, to the blob, and the history keeps both."""

from collections.abc import Callable

from catalog.catalog import Catalog
from catalog.content.restore import plan_towards
from catalog.versions.changes import AddManifest, LatestIs, RemoveManifest, RemoveTag
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from tests.unit.catalog.conftest import commit_to, push_image, stage_image, stage_index


def restore(catalog: Catalog, name: str, number: int) -> int:
    latest = catalog.snapshots.get(name)
    changes = plan_towards(latest, catalog.snapshots.get(name, number))
    return commit_to(
        catalog, name, *changes, operation="restore", requirements=(LatestIs(latest.version),), allow_sparse=True
    ).version


def test_every_version_can_be_restored(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    push_image(catalog, "team/app", "a", "one", ("shared", "x"))
    push_image(catalog, "team/app", "a", "two", ("shared", "y"))
    commit_to(catalog, "team/app", RemoveTag("a"))
    push_image(catalog, "team/app", "b", "three", ("shared",))
    commit_to(catalog, "team/app", RemoveManifest(catalog.snapshots.get("team/app", 1).tags["a"]))
    for number in range(5):
        made = restore(catalog, "team/app", number)
        for reader in (catalog, open_again()):
            old, new = reader.snapshots.get("team/app", number), reader.snapshots.get("team/app", made)
            assert (new.tags, new.manifests, new.blobs) == (old.tags, old.manifests, old.blobs)
    assert restore(catalog, "team/app", 10) == 10  # it is so already: no version
    assert [row.operation for row in catalog.history.versions("team/app")].count("restore") == 5


def test_a_sparse_index_is_restored_sparse(catalog: Catalog) -> None:
    child = stage_image(catalog, "team/app", "child")
    index = stage_index(catalog, "team/app", [child, Descriptor(mediatypes.OCI_MANIFEST, Digest.of(b"absent"), 6)])
    commit_to(catalog, "team/app", AddManifest(child), AddManifest(index), allow_sparse=True)
    commit_to(catalog, "team/app", RemoveManifest(index.digest))
    assert restore(catalog, "team/app", 1) == 3
    assert index.digest in catalog.snapshots.get("team/app").manifests
