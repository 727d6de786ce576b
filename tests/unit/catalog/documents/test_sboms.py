"""SBOMs in the shapes that known programs write, and documents of attackers."""

import base64
import json
import time
from pathlib import Path

import pytest

from catalog.documents.purls import LONGEST_TEXT, ListedPackage, read_package
from catalog.documents.reading import load_json
from catalog.documents.sboms import Sbom, read_sbom

VECTORS = Path(__file__).parents[3] / "vectors" / "sbom"
EXPECTED: dict[str, tuple[str, list[tuple[str, ...]]]] = {
    "syft-spdx-2.3": (
        "SPDX-2.3",
        [
            (
                "pkg:deb/debian/libssl3", "deb", "debian", "libssl3", "3.0.11-1~deb12u2",
                "arch=amd64&distro=debian-12&upstream=openssl", "Apache-2.0 AND Artistic-1.0-Perl",
            ),
            (
                "pkg:deb/debian/libstdc%2B%2B6", "deb", "debian", "libstdc++6", "12.2.0-14",
                "arch=amd64&distro=debian-12&upstream=gcc-12", "",
            ),
        ],
    ),
    "tern-spdx-2.2": ("SPDX-2.2", [("musl", "", "", "musl", "1.2.4-r2", "", "LicenseRef-MIT")]),
    "spdx-3.0.1": (
        "SPDX-3.0.1",
        [
            ("pkg:pypi/requests", "pypi", "", "requests", "2.31.0", "", "Apache-2.0"),
            ("pkg:apk/alpine/busybox", "apk", "alpine", "busybox", "1.36.1-r5", "arch=x86_64", "GPL-2.0-only"),
        ],
    ),
    "trivy-cyclonedx-1.5": (
        "CycloneDX-1.5",
        [
            ("alpine", "", "", "alpine", "3.18.4", "", ""),
            ("pkg:apk/alpine/libcrypto3", "apk", "alpine", "libcrypto3", "3.1.4-r1", "arch=x86_64&distro=3.18.4", "Apache-2.0"),
            ("pkg:npm/lodash", "npm", "", "lodash", "4.17.20", "", "MIT AND CC0"),
        ],
    ),
    "cdxgen-cyclonedx-1.6": (
        "CycloneDX-1.6",
        [
            (
                "pkg:maven/org.apache.logging.log4j/log4j-core", "maven", "org.apache.logging.log4j", "log4j-core", "2.14.1",
                "type=jar", "Apache-2.0 OR MIT",
            ),
            ("pkg:npm/%40angular/core", "npm", "@angular", "core", "16.0.0", "", ""),
            ("com.example/nameless-url", "", "", "com.example/nameless-url", "1", "", ""),
        ],
    ),
    "cyclonedx-1.4": ("CycloneDX-1.4", [("pkg:deb/debian/zlib1g", "deb", "debian", "zlib1g", "1:1.2.13.dfsg-1", "", "")]),
}  # fmt: skip


def envelope(document: object) -> dict[str, object]:
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "x", "subject": [], "predicate": document}
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    return {"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": []}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_format_is_read_bare_and_within_a_bundle(name: str) -> None:
    document = json.loads((VECTORS / f"{name}.json").read_text())
    found = read_sbom(document, 1000)
    form, packages = EXPECTED[name]
    assert found == Sbom(form, tuple(ListedPackage._make((*one, False)) for one in packages))
    bundle = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": envelope(document)}
    assert read_sbom(bundle, 1000) == read_sbom(envelope(document), 1000) == found


def test_every_vector_is_expected() -> None:
    assert {file.stem for file in VECTORS.glob("*.json")} == EXPECTED.keys()


def test_no_more_packages_are_kept_than_asked_for() -> None:
    packages = [{"name": f"p{number}"} for number in range(1_000_000)]
    began = time.monotonic()
    found = read_sbom({"spdxVersion": "SPDX-2.3", "packages": packages}, 100)
    assert found is not None
    assert (len(found.packages), found.is_cut) == (100, True)
    assert time.monotonic() - began < 2  # the rest is not even read
    again = read_sbom({"spdxVersion": "SPDX-2.3", "packages": [*packages[:100], *packages[:100]]}, 100)
    assert again is not None
    assert (len(again.packages), again.is_cut) == (100, False)


def test_of_two_members_of_one_name_the_last_counts() -> None:
    raw = (
        b'{"spdxVersion": "SPDX-2.3", "packages": [{"name": "first"}], "packages": [{"name": "last", "name": "least"}]}'
    )
    found = read_sbom(load_json(raw), 10)
    assert found is not None
    assert [one.name for one in found.packages] == ["least"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\0" * 10_000, b"[" * 1_000_000, b'{"a":' * 100_000, b'{"spdxVersion": ' + b"9" * 5000 + b"}", b"\xff\xfe{}",
        b'{"@context": "https://spdx.org/rdf/3.0.1/x"}', b'{"bomFormat": "cyclonedx"}', b'{"payload": "' + b"A" * 99 + b'"}',
    ],
)  # fmt: skip
def test_garbage_is_no_sbom(raw: bytes) -> None:
    assert read_sbom(load_json(raw), 10) is None


@pytest.mark.parametrize(
    "document",
    [
        {"spdxVersion": ["x"], "packages": {"name": "a"}},
        {"spdxVersion": {}, "packages": [None, 1, "x", [], {"name": []}, {"externalRefs": [{"referenceType": "purl"}]}]},
        {"bomFormat": "CycloneDX", "components": [{"licenses": [{"license": []}, 1], "purl": 7}]},
        {"@context": ["https://spdx.org/rdf/3.0.1/x", {}], "@graph": [
            {"type": "Relationship", "relationshipType": "hasDeclaredLicense"},
            {"type": ["software_Package"], "spdxId": []}, {"type": "software_Package", "externalIdentifier": [1]}]},
    ],
)  # fmt: skip
def test_odd_values_are_no_packages(document: object) -> None:
    found = read_sbom(document, 10)
    assert found is not None
    assert found.packages == ()


def test_package_urls_of_strangers_are_kept_on_one_line() -> None:
    found = read_package("pkg:deb/debian/a%0Ab%1B%5B31m@1%0A2?arch=x%00y", "ignored", "", "MIT\n\x1b[2J")
    assert found is not None
    assert (found.type, found.name, found.version) == ("deb", "a\ufffdb\ufffd[31m", "1\ufffd2")
    assert all(text.isprintable() for text in found[:7])


@pytest.mark.parametrize(
    "purl", ["pkg:", "pkg:deb/", "deb/x", "pkg:deb/debian/x?=1&&", "pkg:" + "a/" * 100_000, 7, None]
)
def test_what_is_no_package_url_leaves_the_name(purl: object) -> None:
    found = read_package(purl, "plain", "1", "")
    assert found is not None
    assert found.name in ("plain", "x")


def test_long_texts_are_cut_and_told() -> None:
    found = read_package(None, "n" * 10**6, "1" * 10**6, "")
    assert found is not None
    assert (len(found.name), len(found.version), found.is_cut) == (LONGEST_TEXT, LONGEST_TEXT, True)
    assert read_package("pkg:deb/debian/x@1", "", "", "") == ListedPackage(
        "pkg:deb/debian/x", "deb", "debian", "x", "1", "", ""
    )
    assert read_package(None, "", "1", "") is None
