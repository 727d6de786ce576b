"""Versions of any two repositories compared, down to the packages of the images whose tags moved."""

import base64
import json

import pytest

from catalog.catalog import Catalog
from catalog.content.diff import diff_versions
from catalog.documents.packages import PackageDiff, diff_packages, parse_packages
from catalog.versions.changes import AddManifest, SetTag
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.errors import VersionUnknown
from oci.reference import VersionReference, parse_version_reference
from tests.unit.catalog.conftest import commit_to, stage_blob, stage_image, stage_index, stage_manifest


def spdx(**packages: str) -> dict[str, object]:
    return {
        "spdxVersion": "SPDX-2.3",
        "packages": [
            {"name": "the image", "versionInfo": "x", "primaryPackagePurpose": "CONTAINER"},
            *({"name": name, "versionInfo": version} for name, version in packages.items()),
        ],
    }


def cyclonedx(**packages: str) -> dict[str, object]:
    return {
        "bomFormat": "CycloneDX",
        "components": [
            {"type": "library", "name": name, "version": version, "purl": f"pkg:deb/debian/{name}@{version}?arch=amd64"}
            for name, version in packages.items()
        ],
    }


def statement(predicate: object) -> dict[str, object]:
    return {"_type": "https://in-toto.io/Statement/v1", "predicateType": "x", "predicate": predicate}


def envelope(document: object) -> dict[str, object]:
    payload = base64.b64encode(json.dumps(document).encode()).decode()
    return {"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": []}


@pytest.mark.parametrize(
    "document",
    [
        spdx(zlib="1.2"),
        statement(spdx(zlib="1.2")),
        envelope(statement(spdx(zlib="1.2"))),
        {"mediaType": "bundle", "dsseEnvelope": envelope(statement(spdx(zlib="1.2")))},
        envelope(statement({"Data": json.dumps(spdx(zlib="1.2")), "Timestamp": ""})),
    ],
    ids=["bare", "statement", "envelope", "bundle", "older predicate"],
)
def test_documents_are_read_however_they_are_wrapped(document: object) -> None:
    assert parse_packages(json.dumps(document).encode()) == {"zlib": frozenset({"1.2"})}


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"not json", b'{"payload": "%%"}', b'{"predicate": {"predicate": 1}}', b"[" * 100_000, b'{"payload": "AA=="}',
     b'{"Data": ' * 20 + b"1" + b"}" * 20],
)  # fmt: skip
def test_what_is_no_bill_of_materials_lists_nothing(raw: bytes) -> None:
    assert parse_packages(raw) is None


def test_package_urls_lose_their_version() -> None:
    document = {
        "bomFormat": "CycloneDX",
        "components": [
            {
                "name": "a",
                "version": "1",
                "purl": "pkg:npm/%40scope/a@1",
                "components": [{"name": "b", "version": "2"}],
            },
            {"name": "c", "group": "org", "version": "3"},
            {"type": "file", "name": "/etc/passwd"},
            {"name": "d", "version": "1", "purl": "pkg:npm/@scope/d"},
            "nonsense",
        ],
    }
    assert parse_packages(json.dumps(document).encode()) == {
        "b": frozenset("2"),
        "org/c": frozenset("3"),
        "pkg:npm/%40scope/a": frozenset("1"),
        "pkg:npm/%40scope/d": frozenset("1"),
    }


def attach(catalog: Catalog, repository: str, subject: Descriptor, document: object, media_type: str) -> Descriptor:
    """A referrer with a document."""
    layer = stage_blob(catalog, repository, json.dumps(document).encode())
    raw = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": media_type,
        "config": {"mediaType": mediatypes.OCI_EMPTY, **stage_blob(catalog, repository, b"{}")},
        "layers": [{"mediaType": media_type, **layer}],
        "subject": subject.to_json(),
    }
    return stage_manifest(catalog, repository, raw, mediatypes.OCI_MANIFEST)


def test_packages_of_moved_tags(catalog: Catalog) -> None:
    """By a referrer, by cosign's tag, and by BuildKit's attestation of one child of an index."""
    images = [stage_image(catalog, "dev/app", seed) for seed in ("one", "two", "three")]
    sboms = [
        attach(catalog, "dev/app", images[0], spdx(zlib="1.2", bash="5"), "application/spdx+json"),
        attach(catalog, "dev/app", images[1], envelope(statement(spdx(zlib="1.3", curl="8"))), "application/x"),
    ]
    in_toto = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {"mediaType": mediatypes.OCI_CONFIG, **stage_blob(catalog, "prod/app", b'{"os":"unknown"}')},
        "layers": [
            {
                "mediaType": "application/vnd.in-toto+json",
                **stage_blob(catalog, "prod/app", json.dumps(statement(spdx(zlib="1.4"))).encode()),
            }
        ],
    }
    child, attestation = stage_image(catalog, "prod/app", "four"), None
    attestation = stage_manifest(catalog, "prod/app", in_toto, mediatypes.OCI_MANIFEST)
    index = stage_index(catalog, "prod/app", [child, attestation])
    commit_to(
        catalog, "dev/app", *map(AddManifest, [images[0], images[2], sboms[0]]),
        SetTag("v1", images[0].digest), SetTag("bare", images[0].digest),
    )  # fmt: skip
    commit_to(
        catalog, "dev/app", *map(AddManifest, [images[1], sboms[1]]),
        SetTag("v1", images[1].digest), SetTag("bare", images[2].digest), SetTag("sha256-" + "a" * 64, images[2].digest),
    )  # fmt: skip
    commit_to(catalog, "prod/app", *map(AddManifest, [child, attestation, index]), SetTag("v1", index.digest))
    found = diff_versions(catalog, VersionReference("dev/app", 1), VersionReference("dev/app"))
    assert found.packages == {
        "v1": PackageDiff(
            {"curl": frozenset("8")}, {"bash": frozenset("5")}, {"zlib": (frozenset({"1.2"}), frozenset({"1.3"}))}
        )
    }
    assert found.without_packages == ("bare",)
    across = diff_versions(catalog, parse_version_reference("prod/app@1"), parse_version_reference("dev/app")).to_json()
    assert (across["repository"], across["old"], across["new_repository"], across["new"]) == (
        "prod/app",
        1,
        "dev/app",
        2,
    )
    assert across["tags_moved"] == {"v1": {"from": index.digest, "to": images[1].digest}}
    assert across["packages"] == {
        "v1": {"added": {"curl": ["8"]}, "removed": {}, "changed": {"zlib": {"from": ["1.4"], "to": ["1.3"]}}}
    }
    assert not diff_versions(
        catalog, VersionReference("dev/app", 1), VersionReference("dev/app"), packages=False
    ).packages


def test_cyclonedx_and_spdx_of_different_names_are_told_apart() -> None:
    old, new = (parse_packages(json.dumps(one).encode()) for one in (cyclonedx(zlib="1"), cyclonedx(zlib="2")))
    assert old is not None
    assert new is not None
    assert diff_packages(old, new).changed == {"pkg:deb/debian/zlib": (frozenset("1"), frozenset("2"))}


def test_a_version_that_is_not_there(catalog: Catalog) -> None:
    commit_to(catalog, "team/app", AddManifest(stage_image(catalog, "team/app", "one")))
    with pytest.raises(VersionUnknown):
        diff_versions(catalog, VersionReference("team/app", 9), VersionReference("team/app"))
