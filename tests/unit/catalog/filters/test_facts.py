"""What the catalogue knows of manifests, for the conditions of filters."""

from datetime import UTC, datetime

import pytest

from catalog.catalog import Catalog
from catalog.filters.facts import CREATED, Facts, parse_created
from catalog.versions.changes import AddManifest, RemoveManifest, SetTag
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.kinds import ATOMIC_SIGNATURE, SIGSTORE_BUNDLE, SIGSTORE_PREDICATE, signature_tag
from oci.platform import Platform
from tests.unit.catalog.conftest import commit_to, push_image, stage_blob, stage_image, stage_index, stage_manifest

REPO = "team/app"
AMD64, ARM64, UNKNOWN = Platform("linux", "amd64"), Platform("linux", "arm64"), Platform("unknown", "unknown")


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def facts(catalog: Catalog, digest: Digest) -> Facts:
    return catalog.history.facts(catalog.snapshots.get(REPO), [digest])[digest]


def on(platform: Platform, image: Descriptor) -> Descriptor:
    return Descriptor(image.media_type, image.digest, image.size, platform=platform)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T00:00:00Z", day(2)),
        ("2026-01-02T01:00:00+01:00", day(2)),
        ("2026-01-02T00:00:00.123456789Z", day(2).replace(microsecond=123456)),
        ("2026-01-02", day(2)),
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+12:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times_of_creation(text: str, expected: datetime | None) -> None:
    assert parse_created(text) == expected


def test_the_config_tells_before_the_annotation(catalog: Catalog) -> None:
    annotations = {CREATED: "2026-01-09T00:00:00Z", "a": "1"}
    push_image(catalog, REPO, "v1", "one", created="2026-01-01T00:00:00Z", labels={"l": "x"}, annotations=annotations)
    push_image(catalog, REPO, "v2", "two", created="1970-01-01T00:00:00Z", annotations=annotations)
    push_image(catalog, REPO, "v3", "three")
    tags = catalog.snapshots.get(REPO).tags
    one = facts(catalog, tags["v1"])
    assert (one.kind, one.artifact_type) == ("image", mediatypes.OCI_CONFIG)
    assert (one.created, one.signed) == (day(1), False)
    assert one.labels == {"l": {"x"}, "seed": {"one"}}
    assert one.annotations == {"a": {"1"}, CREATED: {"2026-01-09T00:00:00Z"}}
    assert facts(catalog, tags["v2"]).created == day(9)
    assert facts(catalog, tags["v3"]).created is None


def test_an_index_has_what_its_children_have(catalog: Catalog) -> None:
    older = on(AMD64, stage_image(catalog, REPO, "amd64", created="2026-01-01T00:00:00Z", labels={"l": "x"}))
    newer = on(ARM64, stage_image(catalog, REPO, "arm64", created="2026-01-02T00:00:00Z", labels={"l": "y"}))
    about = on(UNKNOWN, stage_image(catalog, REPO, "attestation", created="2026-01-03T00:00:00Z", labels={"l": "z"}))
    plain = stage_index(catalog, REPO, [older, newer, about])
    dated = stage_index(catalog, REPO, [older], annotations={CREATED: "2026-01-05T00:00:00Z"})
    outer = stage_index(catalog, REPO, [plain])
    images = (older, newer, about, plain, dated, outer)
    commit_to(catalog, REPO, *map(AddManifest, images), SetTag("v1", outer.digest), SetTag("v2", dated.digest))
    found = facts(catalog, plain.digest)
    assert (found.kind, found.created) == ("index", day(2))
    assert found.labels["l"] == {"x", "y"}
    assert {"index", "image"} <= found.types
    assert facts(catalog, dated.digest).created == day(5)
    assert facts(catalog, outer.digest).labels["l"] == {"x", "y"}
    commit_to(catalog, REPO, RemoveManifest(newer.digest), allow_sparse=True, operation_id="sparse")
    assert facts(catalog, plain.digest).created == day(1)
    assert catalog.history.facts(catalog.snapshots.get(REPO), [newer.digest]) == {}
    assert facts(catalog, older.digest).created == day(1)


@pytest.mark.parametrize(
    ("artifact_type", "annotations", "signs"),
    [
        ("application/vnd.cncf.notary.signature", {}, True),
        (ATOMIC_SIGNATURE, {}, True),
        (f"{SIGSTORE_BUNDLE}.v0.3+json", {SIGSTORE_PREDICATE: "https://sigstore.dev/cosign/sign/v1"}, True),
        (f"{SIGSTORE_BUNDLE}.v0.3+json", {SIGSTORE_PREDICATE: "https://slsa.dev/provenance/v1"}, False),
        ("application/spdx+json", {}, False),
    ],
)
def test_a_referrer_that_signs(
    catalog: Catalog, artifact_type: str, annotations: dict[str, str], *, signs: bool
) -> None:
    image = stage_image(catalog, REPO, "one")
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": artifact_type,
        "annotations": annotations,
        "config": {"mediaType": mediatypes.OCI_EMPTY, **stage_blob(catalog, REPO, b"{}")},
        "layers": [],
        "subject": image.to_json(),
    }
    referrer = stage_manifest(catalog, REPO, document, mediatypes.OCI_MANIFEST)
    commit_to(catalog, REPO, AddManifest(image), AddManifest(referrer), SetTag("v1", image.digest))
    assert facts(catalog, image.digest).signed is signs


def test_cosigns_tag_signs(catalog: Catalog) -> None:
    digest = push_image(catalog, REPO, "v1", "one").snapshot.tags["v1"]
    assert not facts(catalog, digest).signed
    push_image(catalog, REPO, signature_tag(digest), "signature")
    assert facts(catalog, digest).signed
