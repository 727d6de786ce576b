"""Referrers: an index of what names a subject, with types and annotations, filtered and in pages."""

import json
from typing import Any

import pytest

from oci import mediatypes
from oci.digest import Digest
from tests.api.conftest import Api, codes, describe, random_blob, simple_manifest

ABSENT = f"sha256:{'0' * 64}"
SBOM, SIGNATURE = "application/spdx+json", "application/x-signature"


def _refer(api: Api, name: str, subject: str, **fields: object) -> Digest:
    """Push an artifact by digest; `fields` go into its manifest."""
    raw = simple_manifest(api, name, subject=describe(Digest(subject), 1000, mediatypes.OCI_MANIFEST), **fields)
    answer = api.put_manifest(name, Digest.of(raw), raw)
    assert answer.status_code == 201, answer.text
    return Digest.of(raw)


def _index(api: Api, name: str, subject: str, query: str = "") -> dict[str, Any]:
    answer = api.admin.get(f"/v2/{name}/referrers/{subject}{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == mediatypes.OCI_INDEX
    index: dict[str, Any] = answer.json()
    assert (index["schemaVersion"], index["mediaType"]) == (2, mediatypes.OCI_INDEX)
    return index


def test_nobody_refers_to_what_nobody_knows(api: Api, name: str) -> None:
    assert _index(api, name, ABSENT)["manifests"] == []
    api.put_manifest(name, "v1", simple_manifest(api, name))
    assert _index(api, name, ABSENT)["manifests"] == []


@pytest.mark.parametrize("bad", ["latest", "sha256:abc", f"md5:{'0' * 32}"])
def test_an_invalid_digest_is_400(api: Api, name: str, bad: str) -> None:
    answer = api.admin.get(f"/v2/{name}/referrers/{bad}")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


def test_a_referrer_is_described_with_type_annotations_and_size(api: Api, name: str) -> None:
    digest = _refer(api, name, ABSENT, artifactType=SBOM, annotations={"org.example.ä": "ö"})
    raw = api.admin.get(f"/v2/{name}/manifests/{digest}").content
    assert _index(api, name, ABSENT)["manifests"] == [
        {
            "mediaType": mediatypes.OCI_MANIFEST,
            "digest": digest,
            "size": len(raw),
            "artifactType": SBOM,
            "annotations": {"org.example.ä": "ö"},
        }
    ]


def test_an_image_without_type_takes_its_config_s_and_an_index_has_none(api: Api, name: str) -> None:
    image = _refer(api, name, ABSENT)
    subject = describe(Digest(ABSENT), 1000, mediatypes.OCI_MANIFEST)
    raw = json.dumps(
        {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [], "subject": subject}
    ).encode()
    api.put_manifest(name, Digest.of(raw), raw, mediatypes.OCI_INDEX)
    found = {entry["digest"]: entry for entry in _index(api, name, ABSENT)["manifests"]}
    assert found[image]["artifactType"] == mediatypes.OCI_CONFIG
    assert "artifactType" not in found[Digest.of(raw)]
    assert "annotations" not in found[image]


def test_the_filter_is_applied_and_said_so(api: Api, name: str) -> None:
    sbom, _ = _refer(api, name, ABSENT, artifactType=SBOM), _refer(api, name, ABSENT, artifactType=SIGNATURE)
    answer = api.admin.get(f"/v2/{name}/referrers/{ABSENT}", params={"artifactType": SBOM})
    assert [entry["digest"] for entry in answer.json()["manifests"]] == [sbom]
    assert answer.headers["oci-filters-applied"] == "artifactType"
    unfiltered = api.admin.get(f"/v2/{name}/referrers/{ABSENT}")
    assert len(unfiltered.json()["manifests"]) == 2
    assert "oci-filters-applied" not in unfiltered.headers
    nothing = api.admin.get(f"/v2/{name}/referrers/{ABSENT}", params={"artifactType": "application/x-none"})
    assert nothing.json()["manifests"] == []


def test_a_plus_sign_in_the_filter_is_one_escaped_or_not(api: Api, name: str) -> None:
    sbom = _refer(api, name, ABSENT, artifactType=SBOM)
    for text in (SBOM, SBOM.replace("+", "%2B")):
        entries = _index(api, name, ABSENT, f"?artifactType={text}")["manifests"]
        assert [entry["digest"] for entry in entries] == [sbom]


def test_a_deleted_referrer_is_gone_from_the_list(api: Api, name: str) -> None:
    kept, gone = _refer(api, name, ABSENT, artifactType=SBOM), _refer(api, name, ABSENT, artifactType=SIGNATURE)
    api.admin.delete(f"/v2/{name}/manifests/{gone}")
    assert [entry["digest"] for entry in _index(api, name, ABSENT)["manifests"]] == [kept]


def test_referrers_of_another_repository_are_not_listed(api: Api, name: str, other_name: str) -> None:
    subject = Digest.of(random_blob())
    _refer(api, other_name, subject)
    assert _index(api, name, subject)["manifests"] == []


def test_a_sha512_subject_is_found(api: Api, name: str) -> None:
    subject = Digest.of(b"subject", "sha512")
    digest = _refer(api, name, subject)
    assert [entry["digest"] for entry in _index(api, name, subject)["manifests"]] == [digest]


def test_what_does_not_fit_into_one_index_comes_in_pages_that_keep_the_filter(api: Api, name: str) -> None:
    pushed = [
        _refer(api, name, ABSENT, artifactType=SBOM, annotations={"big": "x" * 1_500_000, "n": str(number)})
        for number in range(5)
    ]
    path, found, pages = f"/v2/{name}/referrers/{ABSENT}?artifactType={SBOM}", [], 0
    while path:
        answer = api.admin.get(path)
        assert len(answer.content) <= 4 * 1024 * 1024
        assert answer.headers["oci-filters-applied"] == "artifactType"
        found += [entry["digest"] for entry in answer.json()["manifests"]]
        path, pages = answer.links.get("next", {}).get("url", ""), pages + 1
    assert (found, pages) == (sorted(pushed), 3)


def test_what_a_fallback_tag_lists_is_merged_and_what_is_deleted_leaves(api: Api, name: str) -> None:
    """A client that knows no referrers API keeps an index under a tag made of the subject's digest."""
    subject = Digest.of(random_blob())
    linked = _refer(api, name, subject, artifactType=SBOM)
    raw = simple_manifest(api, name, artifactType=SIGNATURE)
    loose = Digest.of(raw)
    assert api.put_manifest(name, loose, raw).status_code == 201
    entries = [describe(digest, size, mediatypes.OCI_MANIFEST) for digest, size in ((loose, len(raw)), (linked, 10))]
    document = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": entries}
    entries[1]["size"] = len(api.admin.get(f"/v2/{name}/manifests/{linked}").content)
    fallback = json.dumps(document).encode()
    assert api.put_manifest(name, subject.replace(":", "-"), fallback, mediatypes.OCI_INDEX).status_code == 201

    def listed(query: str = "") -> list[str]:
        return [one["digest"] for one in _index(api, name, subject, query)["manifests"]]

    assert listed() == sorted([linked, loose])
    assert listed(f"?artifactType={SIGNATURE}") == [loose]
    assert api.admin.delete(f"/v2/{name}/manifests/{loose}").status_code == 202
    assert listed() == [linked]
    assert api.admin.delete(f"/v2/{name}/manifests/{linked}").status_code == 202
    assert listed() == []


def test_a_fallback_tag_that_is_no_index_lists_nothing(api: Api, name: str) -> None:
    subject = Digest.of(random_blob())
    tag = subject.replace(":", "-")
    assert api.put_manifest(name, tag, simple_manifest(api, name)).status_code == 201
    assert _index(api, name, subject)["manifests"] == []
