"""The SBOMs of an image: listed, shown, compared in the order of ecosystems, taken out of attestations, and attached once."""

import json
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.content.documents import ReadLimit
from catalog.content.sboms import compare_images, list_sboms, read_image_packages, read_raw_sbom
from catalog.documents.reading import load_json
from catalog.documents.sboms import sbom_media_type
from catalog.signing.plan import plan_attachment, read_document
from catalog.versions.changes import AddManifest, SetTag
from oci.descriptor import Descriptor
from oci.errors import InvalidInput, ManifestUnknown
from tests.unit.catalog.conftest import commit_to, stage_image
from tests.unit.catalog.search.test_package_rows import bundle, deb, push_sbom, stage_document, statement

NAME = "team/app"
VECTORS = sorted((Path(__file__).parents[3] / "vectors" / "sbom").glob("*.json"))
SPDX, CYCLONEDX = "https://spdx.dev/Document", "https://cyclonedx.org/bom"


def attach(catalog: Catalog, image: Descriptor, raw: bytes, predicate_type: str) -> int:
    """Attach as `entrepot sbom attach` does; return how many manifests that adds."""
    latest = catalog.snapshots.get(NAME)
    changes = plan_attachment(catalog, latest, image.digest, read_document(raw, predicate_type))
    if changes:
        commit_to(catalog, NAME, *changes, operation_id=f"attach {len(latest.manifests)}")
    return len(changes)


@pytest.fixture
def image(catalog: Catalog) -> Descriptor:
    found = stage_image(catalog, NAME, "one")
    commit_to(catalog, NAME, AddManifest(found), SetTag("one", found.digest), operation_id="image")
    return found


@pytest.mark.parametrize("file", VECTORS, ids=lambda file: file.stem)
def test_each_format_is_attached_once_and_comes_back_byte_for_byte(
    catalog: Catalog, image: Descriptor, file: Path
) -> None:
    raw = file.read_bytes()
    kind = sbom_media_type(load_json(raw))
    assert kind in ("application/spdx+json", "application/vnd.cyclonedx+json")
    predicate_type = SPDX if "spdx" in kind else CYCLONEDX
    assert (attach(catalog, image, raw, predicate_type), attach(catalog, image, raw, predicate_type)) == (1, 0)
    snapshot = catalog.snapshots.get(NAME)
    (found,) = list_sboms(catalog, snapshot, image.digest)
    assert (found.artifact_type, found.state, found.signer, found.image) == (kind, "read", "", image.digest)
    assert found.packages == len(read_image_packages(catalog, snapshot, image.digest).packages) > 0
    assert read_raw_sbom(catalog, snapshot, image.digest) == (found, raw)
    assert read_raw_sbom(catalog, snapshot, found.sbom)[1] == raw


def test_a_document_that_another_tool_attached_is_not_attached_again(catalog: Catalog, image: Descriptor) -> None:
    raw = deb("a@1")
    theirs = stage_document(catalog, NAME, raw, "text/plain", image, annotations={"by": "oras"})
    commit_to(catalog, NAME, AddManifest(theirs), operation_id="theirs")
    assert attach(catalog, image, raw, CYCLONEDX) == 0
    assert attach(catalog, image, deb("a@2"), CYCLONEDX) == 1


@pytest.mark.parametrize("raw", [b"[]", b"7", b'{"artifacts": []}', statement(deb("a@1")), bundle(deb("a@1"))])
def test_what_is_no_bare_sbom_has_no_media_type(raw: bytes) -> None:
    assert sbom_media_type(load_json(raw)) == ""


def test_attested_sboms_are_taken_out_and_claim_a_signer(catalog: Catalog, image: Descriptor) -> None:
    signed = json.loads(bundle(deb("a@1"))) | {"verificationMaterial": {"publicKey": {"hint": "abc\x1b[31m"}}}
    sbom = stage_document(
        catalog, NAME, json.dumps(signed).encode(), "application/vnd.dev.sigstore.bundle.v0.3+json", image,
        annotations={"dev.sigstore.bundle.predicateType": CYCLONEDX},
    )  # fmt: skip
    commit_to(catalog, NAME, AddManifest(sbom), operation_id="attestation")
    snapshot = catalog.snapshots.get(NAME)
    (found,) = list_sboms(catalog, snapshot, image.digest)
    assert (found.format, found.signer) == ("CycloneDX-1.5", "key abc\\x1b[31m")
    assert json.loads(read_raw_sbom(catalog, snapshot, image.digest)[1]) == json.loads(deb("a@1"))


def test_several_sboms_are_told_apart_by_format_or_digest(catalog: Catalog, image: Descriptor) -> None:
    spdx = json.dumps({"spdxVersion": "SPDX-2.3", "packages": [{"name": "b"}]}).encode()
    attach(catalog, image, deb("a@1"), CYCLONEDX)
    attach(catalog, image, spdx, SPDX)
    snapshot = catalog.snapshots.get(NAME)
    with pytest.raises(InvalidInput, match=r"2 SBOMs of .*SPDX-2\.3"):
        read_raw_sbom(catalog, snapshot, image.digest)
    assert read_raw_sbom(catalog, snapshot, image.digest, "spdx")[1] == spdx
    with pytest.raises(ManifestUnknown, match="no SBOM in SPDX-3"):
        read_raw_sbom(catalog, snapshot, image.digest, "SPDX-3")
    assert {one.name for one in read_image_packages(catalog, snapshot, image.digest).packages} == {"a", "b"}


def test_without_sboms_and_with_bad_ones(catalog: Catalog, image: Descriptor) -> None:
    with pytest.raises(ManifestUnknown, match="has no SBOM; attach one"):
        read_image_packages(catalog, catalog.snapshots.get(NAME), image.digest)
    bad = stage_document(catalog, NAME, b"\0garbage", "application/spdx+json", image)
    commit_to(catalog, NAME, AddManifest(bad), operation_id="bad")
    snapshot = catalog.snapshots.get(NAME)
    assert [one.state for one in list_sboms(catalog, snapshot, image.digest)] == ["invalid"]
    assert [one.state for one in list_sboms(catalog, snapshot, image.digest, limit=ReadLimit(9, 3, 99))] == [
        "too-large"
    ]
    assert list_sboms(catalog, snapshot, image.digest, limit=ReadLimit(0, 99, 99)) == []
    with pytest.raises(ManifestUnknown, match="whose content is here"):
        read_image_packages(catalog, snapshot, image.digest)


def test_changes_are_in_the_order_of_the_ecosystem(catalog: Catalog) -> None:
    old, _ = push_sbom(catalog, NAME, deb("up@1.9-1", "down@2~rc1", "same@1", "gone@1", "both@1", "both@1:0.1"), "old")
    new, _ = push_sbom(catalog, NAME, deb("up@1.10-1", "down@1", "same@1", "new@1", "both@1", "both@2"), "new")
    snapshot = catalog.snapshots.get(NAME)
    changes = compare_images(*(read_image_packages(catalog, snapshot, one.digest) for one in (old, new)))
    assert [(one.change, one.package.rpartition("/")[2], one.old, one.new) for one in changes] == [
        ("changed", "both", ("1", "1:0.1"), ("1", "2")),
        ("downgraded", "down", ("2~rc1",), ("1",)),
        ("removed", "gone", ("1",), ()),
        ("added", "new", (), ("1",)),
        ("upgraded", "up", ("1.9-1",), ("1.10-1",)),
    ]
