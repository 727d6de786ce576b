"""Manifests are read strictly, and their bytes are kept."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci import mediatypes
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import ManifestInvalid
from oci.kinds import kind_of
from oci.manifest import MAX_BYTES, Manifest, parse_manifest, plain_media_type, required_blobs
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index

BLOB = {"mediaType": "application/octet-stream", "digest": Digest.of(b"x"), "size": 1}


def image(**fields: Any) -> bytes:
    document = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": BLOB, "layers": [], **fields}
    return json.dumps({name: value for name, value in document.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("raw", "carried", "message"),
    [
        (b"", "", "not JSON"),
        (b"\xff\xfe", "", "not JSON"),
        (b"[" * 100_000, "", "not JSON"),
        (b"null", "", "not an object"),
        (image(), mediatypes.OCI_INDEX, "was sent as"),
        (image(mediaType=5), "", "mediaType is not a text"),
        (image(mediaType="application/x-tar"), "", "not a manifest's media type"),
        (image(mediaType=...), "application/x-tar", "not a manifest's media type"),
        (image(manifests=[]), "", "cannot have 'manifests'"),
        (image(mediaType=mediatypes.OCI_INDEX), "", "cannot have 'layers'"),
        (image(config=...), "", "needs a config"),
        (image(config=[]), "", "config is not an object"),
        (image(config={**BLOB, "digest": "sha256:1"}), "", "config: not a sha256 digest"),
        (image(config={**BLOB, "size": -1}), "", "whole number"),
        (image(config={**BLOB, "size": True}), "", "whole number"),
        (image(layers={}), "", "layers is not a list"),
        (image(layers=[BLOB, {}]), "", r"layers\[1\] needs mediaType"),
        (image(layers=[{**BLOB, "data": "%"}]), "", "base64"),
        (image(annotations={"a": 1}), "", "annotations"),
        (image(subject={}), "", "subject needs"),
        (b" " * (MAX_BYTES + 1), "", "above the limit"),
    ],
)
def test_what_is_no_manifest_is_refused(raw: bytes, carried: str, message: str) -> None:
    with pytest.raises(ManifestInvalid, match=message):
        parse_manifest(raw, carried)


@pytest.mark.parametrize(
    ("raw", "carried", "expected"),
    [
        (image(), "", mediatypes.OCI_MANIFEST),
        (image(mediaType=...), mediatypes.OCI_MANIFEST, mediatypes.OCI_MANIFEST),
        (image(mediaType=...), f"{mediatypes.DOCKER_MANIFEST}; charset=utf-8", mediatypes.DOCKER_MANIFEST),
        (image(mediaType=...), "application/json", mediatypes.OCI_MANIFEST),
        (b'{"manifests":[]}', "", mediatypes.OCI_INDEX),
        (b'{"manifests":null,"unknown":{}}', mediatypes.OCI_INDEX, mediatypes.OCI_INDEX),
    ],
)
def test_the_media_type_is_agreed_on(raw: bytes, carried: str, expected: str) -> None:
    manifest = parse_manifest(raw, carried)
    assert (manifest.media_type, manifest.raw, manifest.digest) == (expected, raw, Digest.of(raw))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["mediaType", "config", "layers", "manifests", "subject", "annotations", "digest", "size", "x"]
                ),
                inner,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_manifest_or_a_clear_refusal(document: object) -> None:
    with contextlib.suppress(ManifestInvalid):
        assert isinstance(parse_manifest(json.dumps(document).encode()), Manifest)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_manifest_or_a_clear_refusal(raw: bytes) -> None:
    with contextlib.suppress(ManifestInvalid):
        parse_manifest(raw)


def test_a_descriptor_survives_reading_and_writing() -> None:
    value = {
        **BLOB,
        "urls": ["https://x.example"],
        "annotations": {"a": "b"},
        "data": base64.b64encode(b"x").decode(),
        "platform": {"architecture": "arm", "os": "linux", "os.version": "1", "os.features": ["f"], "variant": "v7"},
        "artifactType": "application/x",
    }
    assert Descriptor.from_json(value).to_json() == value


def test_required_blobs_are_what_a_registry_must_hold() -> None:
    foreign = {
        **BLOB,
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": Digest.of(b"f"),
    }
    manifest = parse_manifest(image(layers=[BLOB, foreign]))
    assert [blob.digest for blob in required_blobs(manifest)] == [Digest.of(b"x")]
    child = {**BLOB, "mediaType": mediatypes.OCI_MANIFEST, "digest": Digest.of(b"m")}
    index = parse_manifest(json.dumps({"mediaType": mediatypes.OCI_INDEX, "manifests": [child, BLOB]}).encode())
    assert [blob.digest for blob in required_blobs(index)] == [Digest.of(b"x")]
    assert [role for role, _ in index.children()] == ["manifest", "manifest"]


def test_schema_1_is_recognised_and_named_by_its_payload() -> None:
    payload = json.dumps(
        {"schemaVersion": 1, "name": "a/b", "tag": "v1", "fsLayers": [{"blobSum": Digest.of(b"l")}] * 2}, indent=3
    ).encode()
    tail = b"\n}"
    assert payload.endswith(tail)
    head = payload.removesuffix(tail)
    protected = {"formatLength": len(head), "formatTail": base64.urlsafe_b64encode(tail).rstrip(b"=").decode()}
    encoded = base64.urlsafe_b64encode(json.dumps(protected).encode()).rstrip(b"=").decode()
    signed = head + b',\n   "signatures": ' + json.dumps([{"protected": encoded}]).encode() + tail
    manifest = parse_manifest(signed, mediatypes.DOCKER_SCHEMA1_SIGNED)
    assert (manifest.raw, manifest.digest) == (payload, Digest.of(payload))
    assert manifest.media_type == mediatypes.DOCKER_SCHEMA1
    assert [(layer.digest, layer.size) for layer in manifest.layers] == [(Digest.of(b"l"), UNKNOWN_SIZE)]
    with pytest.raises(ManifestInvalid, match="payload"):
        parse_manifest(head + b',"signatures":[{}]' + tail, mediatypes.DOCKER_SCHEMA1_SIGNED)


def test_plain_media_types() -> None:
    assert plain_media_type(" Application/JSON ; charset=utf-8") == "application/json"


def test_kinds() -> None:
    store = MemoryStore()
    plain = pack_image(store, [{"a": "b"}])
    helm = pack_artifact(
        store, "", [("application/x", b"c")], config=("application/vnd.cncf.helm.config.v1+json", b"{}")
    )
    kinds = {
        "image": plain,
        "index": pack_index(store, [(plain, None)]),
        "helm": helm,
        "cosign-signature": pack_artifact(store, "", [("application/vnd.dev.cosign.simplesigning.v1+json", b"s")]),
        "attestation": pack_artifact(store, "application/vnd.in-toto+json", [("application/vnd.in-toto+json", b"{}")]),
        "sbom": pack_artifact(store, "application/vnd.cyclonedx+json", [("application/vnd.cyclonedx+json", b"{}")]),
        "artifact": pack_artifact(store, "application/x.mine", [("text/plain", b"x")]),
    }
    assert {name: kind_of(manifest) for name, manifest in kinds.items()} == {name: name for name in kinds}
    assert kind_of(plain, {"org.flatpak.ref": "app/x/y/z"}) == "flatpak"
    assert kind_of(plain, {"containers.bootc": "1"}) == "bootable"
    bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
    predicate = {"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}
    assert kind_of(pack_artifact(store, bundle, [(bundle, b"{}")])) == "cosign-signature"
    assert kind_of(pack_artifact(store, bundle, [(bundle, b"{}")], annotations=predicate)) == "attestation"
