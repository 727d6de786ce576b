"""Versions that name blobs without their bytes: what was received of them since counts, and counting it is cheap."""

import pytest

from catalog.blobs.origins import Origin
from catalog.catalog import Catalog
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.snapshot import total_of
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from tests.races.test_poison import together
from tests.unit.catalog.conftest import commit_to, stage_blob, stage_manifest

NAME = "team/app"
ORIGIN = Origin(f"registry.example/{NAME}", "on_demand")


def _stage(catalog: Catalog, number: int) -> tuple[Descriptor, bytes]:
    """An image whose layer stays upstream, and that layer."""
    layer = f"layer {number}".encode() * 100
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {"mediaType": mediatypes.OCI_CONFIG, **stage_blob(catalog, NAME, f'{{"of": {number}}}'.encode())},
        "layers": [{"mediaType": mediatypes.OCI_LAYER_GZIP, "digest": Digest.of(layer), "size": len(layer)}],
    }
    return stage_manifest(catalog, NAME, document, mediatypes.OCI_MANIFEST), layer


def _commit(catalog: Catalog, number: int, image: Descriptor) -> int:
    changes = AddManifest(image), SetTag(f"t{number}", image.digest)
    return total_of(commit_to(catalog, NAME, *changes, origin=ORIGIN, operation_id=f"op-{number}").snapshot).bytes


def test_what_was_received_since_counts_with_the_next_version(catalog: Catalog) -> None:
    (first, layer), (second, other) = _stage(catalog, 1), _stage(catalog, 2)
    without = _commit(catalog, 1, first)
    catalog.content.put(layer, Digest.of(layer), NAME)
    catalog.content.put(other, Digest.of(other), "team/other")
    grown = _commit(catalog, 2, second)
    config = b'{"of": 2}'
    assert grown == without + len(layer) + second.size + len(config)


def test_commits_that_share_a_transaction_read_the_leases_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [_stage(catalog, number)[0] for number in range(12)]
    reads: list[str] = []
    read = catalog._blob_index.linked

    def count(repository: str) -> dict[Digest, int]:
        reads.append(repository)
        return read(repository)

    monkeypatch.setattr(catalog._blob_index, "linked", count)
    jobs = [lambda number=number, image=image: _commit(catalog, number, image) for number, image in enumerate(images)]
    totals = together(catalog, jobs)
    assert all(isinstance(total, int) for total in totals), totals
    assert len(catalog.snapshots.get(NAME).tags) == 12
    assert len(reads) <= 2  # the first to come writes alone
