"""Documents about images: found as referrers, by cosign's tags and in indexes, and read by right and within limits."""

import base64
import json

import pytest

from catalog.catalog import Catalog
from catalog.content.documents import MOST_STATEMENTS, ReadLimit, read_documents
from catalog.versions.changes import AddManifest, SetTag
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from tests.unit.catalog.conftest import commit_to, stage_blob, stage_image, stage_index, stage_manifest

WIDE = ReadLimit(layers=1000, each=10**6, all=10**7)


def spdx(*names: str) -> bytes:
    return json.dumps(
        {"spdxVersion": "SPDX-2.3", "packages": [{"name": name, "versionInfo": "1"} for name in names]}
    ).encode()


def provenance(digest: Digest) -> bytes:
    statement = {
        "predicateType": "https://slsa.dev/provenance/v1",
        "subject": [{"digest": {"sha256": digest.encoded}}],
        "predicate": {"buildDefinition": {}, "runDetails": {"builder": {"id": "builder"}}},
    }
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps({"payload": payload, "signatures": [{}]}).encode()


def attach(
    catalog: Catalog, subject: Descriptor | None, *documents: bytes, media_type: str = "application/spdx+json"
) -> Descriptor:
    layers = [{"mediaType": media_type, **stage_blob(catalog, "a", document)} for document in documents]
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": media_type,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **stage_blob(catalog, "a", b"{}")},
        "layers": layers,
    }
    if subject is not None:
        manifest["subject"] = subject.to_json()
    return stage_manifest(catalog, "a", manifest, mediatypes.OCI_MANIFEST)


@pytest.fixture
def image(catalog: Catalog) -> Descriptor:
    found = stage_image(catalog, "a", "one")
    commit_to(catalog, "a", AddManifest(found), SetTag("v1", found.digest))
    return found


def test_referrers_and_cosigns_tags_are_read_together(catalog: Catalog, image: Descriptor) -> None:
    by_subject, by_tag = (
        attach(catalog, image, spdx("zlib")),
        attach(catalog, None, spdx("curl"), provenance(image.digest)),
    )
    tag = f"sha256-{image.digest.encoded}.att"
    commit_to(catalog, "a", AddManifest(by_subject), AddManifest(by_tag), SetTag(tag, by_tag.digest), operation_id="2")
    found = read_documents(catalog, catalog.snapshots.get("a"), image.digest, WIDE)
    assert found.packages is not None
    assert (sorted(found.packages), found.documents, found.is_cut) == (["curl", "zlib"], 2, False)
    assert [(one.builder, one.is_about) for one in found.statements] == [("builder", True)]


def test_attestations_within_an_index_are_about_the_image_that_they_name(catalog: Catalog, image: Descriptor) -> None:
    attestation = attach(catalog, None, provenance(image.digest), media_type="application/vnd.in-toto+json")
    described = {
        **attestation.to_json(),
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image.digest,
        },
    }
    index = stage_index(catalog, "a", [image, Descriptor.from_json(described)])
    commit_to(catalog, "a", AddManifest(image), AddManifest(attestation), AddManifest(index), operation_id="2")
    found = read_documents(catalog, catalog.snapshots.get("a"), index.digest, WIDE)
    assert [one.is_about for one in found.statements] == [True]
    assert found.packages is None


def test_what_is_beyond_a_limit_is_left_out_and_told(catalog: Catalog, image: Descriptor) -> None:
    small, large = spdx("zlib"), spdx(*(f"package-{number}" for number in range(100)))
    made = [attach(catalog, image, small), attach(catalog, image, large)]
    commit_to(catalog, "a", *map(AddManifest, made), operation_id="2")
    snapshot = catalog.snapshots.get("a")

    def read(limit: ReadLimit) -> tuple[int, bool]:
        found = read_documents(catalog, snapshot, image.digest, limit)
        return found.documents, found.is_cut

    assert read(WIDE) == (2, False)
    assert read(ReadLimit(layers=1000, each=len(small), all=10**7)) == (1, True)
    assert read(ReadLimit(layers=1000, each=10**6, all=len(large))) == (1, True)
    assert read(ReadLimit(layers=1, each=10**6, all=10**7)) == (1, True)


def test_no_more_statements_are_kept_than_a_page_shows(catalog: Catalog, image: Descriptor) -> None:
    documents = [json.loads(provenance(image.digest)) | {"n": number} for number in range(MOST_STATEMENTS + 5)]
    made = attach(catalog, image, *(json.dumps(one).encode() for one in documents))
    commit_to(catalog, "a", AddManifest(made), operation_id="2")
    assert len(read_documents(catalog, catalog.snapshots.get("a"), image.digest, WIDE).statements) == MOST_STATEMENTS
