"""Manifests in and out: byte for byte, by tag and by digest, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from oci import mediatypes
from oci.digest import Digest
from oci.manifest import MAX_BYTES
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests.api.conftest import Api, codes, describe, random_blob, serve, simple_manifest

Push = Callable[..., Digest]


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_digest(api: Api, name: str) -> None:
    raw = json.dumps(json.loads(simple_manifest(api, name)), indent=3).encode() + b"\n\n"
    put = api.put_manifest(name, "v1", raw)
    digest = Digest.of(raw)
    assert put.status_code == 201
    assert put.headers["docker-content-digest"] == digest
    assert put.headers["location"] == f"/v2/{name}/manifests/{digest}"
    for reference in ("v1", digest):
        got = api.admin.get(f"/v2/{name}/manifests/{reference}")
        head = api.admin.head(f"/v2/{name}/manifests/{reference}")
        assert (got.content, head.content) == (raw, b"")
        for answer in (got, head):
            assert answer.status_code == 200
            assert answer.headers["content-type"] == mediatypes.OCI_MANIFEST
            assert answer.headers["content-length"] == str(len(raw))
            assert answer.headers["docker-content-digest"] == digest
            assert answer.headers["etag"] == f'"{digest}"'


@pytest.mark.parametrize("header", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_if_none_match_of_the_same_content_is_304(api: Api, name: str, push_simple: Push, header: str) -> None:
    digest = push_simple("v1")
    for method in ("GET", "HEAD"):
        answer = api.admin.request(method, f"/v2/{name}/manifests/v1", headers={"If-None-Match": header.format(digest)})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["docker-content-digest"] == digest
    other = api.admin.get(f"/v2/{name}/manifests/v1", headers={"If-None-Match": '"sha256:0"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/json",
        f"{mediatypes.DOCKER_MANIFEST};q=0.5, {mediatypes.OCI_INDEX};q=0.1",
        "text/html;level=1;q=0.3, */*;q=0.1",
        "not a media type at all",
    ],
)
def test_no_accept_header_makes_a_404_or_a_conversion(api: Api, name: str, push_simple: Push, accept: str) -> None:
    digest = push_simple("v1")
    for reference in ("v1", digest):
        answer = api.admin.get(f"/v2/{name}/manifests/{reference}", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == mediatypes.OCI_MANIFEST


def test_a_content_type_is_kept_without_its_parameters(api: Api, name: str) -> None:
    raw = simple_manifest(api, name)
    assert api.put_manifest(name, "v1", raw, f"{mediatypes.OCI_MANIFEST}; charset=utf-8").status_code == 201
    assert api.admin.get(f"/v2/{name}/manifests/v1").headers["content-type"] == mediatypes.OCI_MANIFEST


def test_a_body_without_media_type_takes_the_content_type(api: Api, name: str) -> None:
    raw = simple_manifest(api, name, mediaType=None)
    assert api.put_manifest(name, "v1", raw).status_code == 201
    answer = api.admin.get(f"/v2/{name}/manifests/v1")
    assert (answer.content, answer.headers["content-type"]) == (raw, mediatypes.OCI_MANIFEST)


def test_a_push_by_digest_sets_no_tag(api: Api, name: str) -> None:
    raw = simple_manifest(api, name)
    digest = Digest.of(raw)
    assert api.put_manifest(name, digest, raw).status_code == 201
    assert api.admin.get(f"/v2/{name}/tags/list").json()["tags"] == []
    assert api.admin.get(f"/v2/{name}/manifests/{digest}").content == raw


def test_a_sha512_manifest_is_served_under_its_digest(api: Api, name: str) -> None:
    raw = simple_manifest(api, name)
    digest = Digest.of(raw, "sha512")
    put = api.put_manifest(name, digest, raw)
    assert (put.status_code, put.headers["docker-content-digest"]) == (201, digest)
    got = api.admin.get(f"/v2/{name}/manifests/{digest}")
    assert (got.content, got.headers["docker-content-digest"]) == (raw, digest)


def test_a_push_by_digest_may_set_tags(api: Api, name: str) -> None:
    raw = simple_manifest(api, name)
    put = api.admin.put(
        f"/v2/{name}/manifests/{Digest.of(raw)}?tag=v1&tag=v2&tag=v1",
        content=raw,
        headers={"Content-Type": mediatypes.OCI_MANIFEST},
    )
    assert put.status_code == 201
    assert put.headers.get_list("oci-tag") == ["v1", "v2"]
    assert api.admin.get(f"/v2/{name}/tags/list").json()["tags"] == ["v1", "v2"]
    assert len(api.catalog.history.versions(name)) == 1


def test_too_many_tags_in_one_push_are_414(api: Api, name: str) -> None:
    raw = simple_manifest(api, name)
    query = "&".join(f"tag=v{number}" for number in range(11))
    answer = api.admin.put(f"/v2/{name}/manifests/{Digest.of(raw)}?{query}", content=raw)
    assert answer.status_code == 414
    codes(answer)


def test_a_pushed_tag_is_one_version(api: Api, name: str, push_simple: Push) -> None:
    push_simple("v1")
    digest = push_simple("v1")
    versions = api.catalog.history.versions(name)
    assert [(version.number, version.operation, version.actor) for version in versions] == [
        (2, "push", "admin"),
        (1, "push", "admin"),
    ]
    assert len({version.operation_id for version in versions}) == 2
    assert api.catalog.snapshots.get(name).tags == {"v1": digest}


def test_pushing_what_is_there_makes_no_version(api: Api, name: str) -> None:
    raw = simple_manifest(api, name)
    assert [api.put_manifest(name, "v1", raw).status_code for _ in range(3)] == [201, 201, 201]
    assert len(api.catalog.history.versions(name)) == 1


# --- what is refused -------------------------------------------------------------------------------------------


def test_a_body_of_another_media_type_is_400_manifest_invalid(api: Api, name: str) -> None:
    raw = simple_manifest(api, name)
    answer = api.put_manifest(name, "v1", raw, mediatypes.DOCKER_MANIFEST)
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])


@pytest.mark.parametrize(
    "raw",
    [b"", b"no json", b"[]", b'{"schemaVersion":2,"mediaType":7}', b'{"config":1}', b"[" * 100_000],
    ids=["empty", "text", "list", "type", "config", "deep"],
)
def test_what_is_no_manifest_is_400_manifest_invalid(api: Api, name: str, raw: bytes) -> None:
    answer = api.put_manifest(name, "v1", raw)
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])


def test_layers_and_manifests_in_one_document_are_refused(api: Api, name: str) -> None:
    answer = api.put_manifest(name, "v1", simple_manifest(api, name, manifests=[]))
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])


def test_a_media_type_that_is_no_manifests_is_refused(api: Api, name: str) -> None:
    answer = api.put_manifest(name, "v1", simple_manifest(api, name, mediaType=None), "application/x-other")
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])


def test_docker_schema_1_is_refused_with_a_reason(api: Api, name: str) -> None:
    raw = json.dumps({"schemaVersion": 1, "name": name, "tag": "v1", "fsLayers": [], "history": []}).encode()
    for media_type in mediatypes.SCHEMA1:
        answer = api.put_manifest(name, "v1", raw, media_type)
        assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])
        assert "schema 1" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("reference", [f"sha256:{'0' * 64}", f"sha512:{'0' * 128}"])
def test_content_of_another_digest_is_400_digest_invalid(api: Api, name: str, reference: str) -> None:
    answer = api.put_manifest(name, reference, simple_manifest(api, name))
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("reference", ["sha256:abc", f"md5:{'0' * 32}", f"sha256:{'G' * 64}", "a:b"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_malformed_digest_is_400_digest_invalid(
    api: Api, name: str, push_simple: Push, method: str, reference: str
) -> None:
    push_simple("v1")
    answer = api.admin.request(method, f"/v2/{name}/manifests/{reference}")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("tag", [".v1", "-v1", "t" * 129, "v 1", "v1+build"])
def test_a_malformed_tag_cannot_be_pushed(api: Api, name: str, tag: str) -> None:
    answer = api.put_manifest(name, tag, simple_manifest(api, name))
    assert (answer.status_code, codes(answer)) == (400, ["TAG_INVALID"])
    assert api.admin.get(f"/v2/{name}/manifests/{tag}").status_code == 404


@pytest.mark.parametrize("tag", ["_", "A" * 128, "0.1-rc_1", "latest"])
def test_all_well_formed_tags_can_be_pushed(api: Api, name: str, push_simple: Push, tag: str) -> None:
    digest = push_simple(tag)
    assert api.admin.head(f"/v2/{name}/manifests/{tag}").headers["docker-content-digest"] == digest


def test_missing_parts_are_all_named(api: Api, name: str) -> None:
    config, layers = random_blob(), [random_blob(), random_blob()]
    held = api.push_blob(name, layers[0])
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": describe(Digest.of(config), len(config), mediatypes.OCI_CONFIG),
        "layers": [describe(Digest.of(layer), len(layer), mediatypes.OCI_LAYER_GZIP) for layer in layers],
    }
    answer = api.put_manifest(name, "v1", json.dumps(document).encode())
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_BLOB_UNKNOWN"])
    missing = answer.json()["errors"][0]["detail"]["missing"]
    assert sorted(missing) == sorted([Digest.of(config), Digest.of(layers[1])])
    assert held not in missing


def test_a_blob_of_another_repository_counts_as_missing(api: Api, name: str, other_name: str) -> None:
    """Else a manifest that names it would be a way to read it."""
    raw = simple_manifest(api, other_name)
    answer = api.put_manifest(name, "v1", raw)
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_BLOB_UNKNOWN"])


def test_an_index_needs_its_manifests(api: Api, name: str) -> None:
    store = MemoryStore()
    one = pack_image(store, [{"one": name}])
    two = pack_image(store, [{"two": name}])
    index = pack_index(store, [(one, Platform("linux", "amd64")), (two, Platform("linux", "arm64"))])
    api.push(name, one.digest, store, one)
    refused = api.put_manifest(name, "v1", index.raw, index.media_type)
    assert (refused.status_code, codes(refused)) == (400, ["MANIFEST_BLOB_UNKNOWN"])
    assert refused.json()["errors"][0]["detail"]["missing"] == [two.digest]
    api.push(name, "v1", store, index)
    assert api.admin.get(f"/v2/{name}/manifests/v1").content == index.raw


def test_docker_schema_2_and_lists_stay_as_they_are(api: Api, name: str) -> None:
    store = MemoryStore()
    image = pack_image(store, [{"file": name}], docker=True)
    index = pack_index(store, [(image, Platform("linux", "amd64"))], docker=True)
    api.push(name, "v1", store, index)
    for reference, manifest in (("v1", index), (image.digest, image)):
        answer = api.admin.get(f"/v2/{name}/manifests/{reference}")
        assert (answer.content, answer.headers["content-type"]) == (manifest.raw, manifest.media_type)


def test_a_manifest_without_layers_and_one_with_unknown_fields_are_taken(api: Api, name: str) -> None:
    raw = simple_manifest(api, name, layers=[], **{"org.example.field": {"x": [1]}})
    assert api.put_manifest(name, "v1", raw).status_code == 201
    assert api.admin.get(f"/v2/{name}/manifests/v1").content == raw


def test_nondistributable_layers_are_never_required(api: Api, name: str) -> None:
    foreign = describe(Digest.of(random_blob()), 1000, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
    assert api.put_manifest(name, "v1", simple_manifest(api, name, layers=[foreign])).status_code == 201


def test_a_size_that_is_not_the_blobs_is_refused(api: Api, name: str) -> None:
    layer = api.push_blob(name, b"five!")
    raw = simple_manifest(api, name, layers=[describe(layer, 6, mediatypes.OCI_LAYER_GZIP)])
    answer = api.put_manifest(name, "v1", raw)
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])


# --- the limit -------------------------------------------------------------------------------------------------


def _padded(api: Api, name: str, size: int) -> bytes:
    raw = simple_manifest(api, name, annotations={"pad": ""})
    return raw.replace(b'"pad": ""', b'"pad": "' + b"x" * (size - len(raw)) + b'"')


def test_a_manifest_of_exactly_4_mib_is_taken(api: Api, name: str) -> None:
    raw = _padded(api, name, MAX_BYTES)
    assert len(raw) == MAX_BYTES
    assert api.put_manifest(name, "v1", raw).status_code == 201
    assert api.admin.get(f"/v2/{name}/manifests/v1").content == raw


def test_a_manifest_above_4_mib_is_413(api: Api, name: str) -> None:
    answer = api.put_manifest(name, "v1", _padded(api, name, MAX_BYTES + 1))
    assert (answer.status_code, codes(answer)) == (413, ["SIZE_INVALID"])


def test_a_chunked_manifest_is_refused_while_it_is_read(api: Api, name: str) -> None:
    """The answer comes before the end of a body that would never end."""
    with api.connection() as sock:
        sock.sendall(
            f"PUT /v2/{name}/manifests/v1 HTTP/1.1\r\nHost: x\r\nAuthorization: {api.authorization}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(5):
            sock.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")


# --- subject ---------------------------------------------------------------------------------------------------


def test_a_missing_subject_is_accepted_and_named(api: Api, name: str) -> None:
    subject = describe(Digest.of(random_blob()), 1000, mediatypes.OCI_MANIFEST)
    answer = api.put_manifest(name, "v1", simple_manifest(api, name, subject=subject))
    assert answer.status_code == 201
    assert answer.headers["oci-subject"] == subject["digest"]


def test_an_index_may_have_a_subject(api: Api, name: str) -> None:
    store = MemoryStore()
    image = pack_image(store, [{"file": name}])
    artifact = pack_artifact(store, "application/x-test", [], subject=image)
    api.push(name, "v1", store, image)
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": mediatypes.OCI_INDEX,
            "manifests": [],
            "subject": describe(image.digest, image.size, image.media_type),
        }
    ).encode()
    answer = api.put_manifest(name, Digest.of(raw), raw, mediatypes.OCI_INDEX)
    assert answer.headers["oci-subject"] == image.digest
    api.push(name, artifact.digest, store, artifact)


# --- deleting --------------------------------------------------------------------------------------------------


def test_deleting_a_tag_removes_only_the_tag(api: Api, name: str) -> None:
    raw = simple_manifest(api, name)
    for tag in ("v1", "v2"):
        api.put_manifest(name, tag, raw)
    assert api.admin.delete(f"/v2/{name}/manifests/v1").status_code == 202
    assert api.admin.head(f"/v2/{name}/manifests/v1").status_code == 404
    assert api.admin.head(f"/v2/{name}/manifests/v2").status_code == 200
    assert api.admin.head(f"/v2/{name}/manifests/{Digest.of(raw)}").status_code == 200
    assert api.catalog.history.versions(name)[0].operation == "delete"


def test_deleting_a_digest_removes_its_tags_too(api: Api, name: str, push_simple: Push) -> None:
    kept = push_simple("kept")
    raw = simple_manifest(api, name)
    for tag in ("v1", "v2"):
        api.put_manifest(name, tag, raw)
    assert api.admin.delete(f"/v2/{name}/manifests/{Digest.of(raw)}").status_code == 202
    for reference in ("v1", "v2", Digest.of(raw)):
        answer = api.admin.get(f"/v2/{name}/manifests/{reference}")
        assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_UNKNOWN"])
    assert api.admin.get(f"/v2/{name}/tags/list").json()["tags"] == ["kept"]
    assert api.admin.head(f"/v2/{name}/manifests/{kept}").status_code == 200


def test_deleting_what_is_not_there_is_404(api: Api, name: str, push_simple: Push) -> None:
    unknown = api.admin.delete(f"/v2/{name}/manifests/v1")
    assert (unknown.status_code, codes(unknown)) == (404, ["NAME_UNKNOWN"])
    push_simple("v1")
    for reference in ("v2", f"sha256:{'0' * 64}", ".bad"):
        answer = api.admin.delete(f"/v2/{name}/manifests/{reference}")
        assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_UNKNOWN"])
    assert len(api.catalog.history.versions(name)) == 1


def test_unknown_manifests_and_repositories_are_404(api: Api, name: str, push_simple: Push) -> None:
    nowhere = api.admin.get(f"/v2/{name}/manifests/v1")
    assert (nowhere.status_code, codes(nowhere)) == (404, ["NAME_UNKNOWN"])
    push_simple("v1")
    for reference in ("v2", f"sha256:{'0' * 64}"):
        answer = api.admin.get(f"/v2/{name}/manifests/{reference}")
        assert (answer.status_code, codes(answer)) == (404, ["MANIFEST_UNKNOWN"])


def test_another_process_s_commit_is_visible_to_the_next_request(api: Api, name: str, push_simple: Push) -> None:
    push_simple("v1")
    digest = api.catalog.snapshots.get(name).tags["v1"]
    assert api.admin.head(f"/v2/{name}/manifests/v2").status_code == 404
    with Catalog(api.catalog.settings) as other:
        from catalog.versions.changes import SetTag
        from tests.unit.catalog.conftest import commit_to

        commit_to(other, name, SetTag("v2", digest), operation_id="from elsewhere")
    assert api.admin.head(f"/v2/{name}/manifests/v2").headers["docker-content-digest"] == digest


# --- blobs that are let go, manifests whose parts are absent ---------------------------------------------------


def test_a_blob_is_deleted_unless_a_manifest_needs_it(api: Api, name: str) -> None:
    loose = api.push_blob(name, random_blob())
    assert api.anybody.delete(f"/v2/{name}/blobs/{loose}").status_code == 401
    assert api.admin.delete(f"/v2/{name}/blobs/{loose}").status_code == 202
    assert api.admin.head(f"/v2/{name}/blobs/{loose}").status_code == 404
    again = api.admin.delete(f"/v2/{name}/blobs/{loose}")
    assert (again.status_code, codes(again)) == (404, ["BLOB_UNKNOWN"])
    raw = simple_manifest(api, name)
    assert api.put_manifest(name, "v1", raw).status_code == 201
    needed = json.loads(raw)["layers"][0]["digest"]
    assert api.admin.delete(f"/v2/{name}/blobs/{needed}").status_code == 409
    assert api.admin.get(f"/v2/{name}/blobs/{needed}").status_code == 200


def test_a_sparse_manifest_is_taken_where_that_is_wished_and_holds_what_comes_later(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot", sparse_repositories="sparse/*") as api:
        late = random_blob()
        layers = [describe(Digest.of(late), len(late), mediatypes.OCI_LAYER_GZIP)]
        refused = api.put_manifest("team/app", "v1", simple_manifest(api, "team/app", layers=layers))
        assert (refused.status_code, codes(refused)) == (400, ["MANIFEST_BLOB_UNKNOWN"])
        raw = simple_manifest(api, "sparse/app", layers=layers)
        assert api.put_manifest("sparse/app", "v1", raw).status_code == 201
        assert api.admin.get("/v2/sparse/app/manifests/v1").content == raw
        assert api.admin.head(f"/v2/sparse/app/blobs/{Digest.of(late)}").status_code == 404
        api.push_blob("sparse/app", late)
        assert api.put_manifest("sparse/app", "v1", raw).status_code == 201
        api.catalog.maintenance.sweep(grace=-1)
        assert api.admin.get(f"/v2/sparse/app/blobs/{Digest.of(late)}").content == late


def test_a_push_under_way_when_its_image_is_deleted_goes_through(own_api: Api, name: str) -> None:
    """The client asked for the blobs, found them, and left them out; the sessions that brought them are long gone."""
    raw = simple_manifest(own_api, name)
    assert own_api.put_manifest(name, "v1", raw).status_code == 201
    parts = [part["digest"] for part in (json.loads(raw)["config"], *json.loads(raw)["layers"])]
    for digest in parts:
        own_api.catalog.content.unlink(name, Digest.parse(digest))
        assert own_api.admin.head(f"/v2/{name}/blobs/{digest}").status_code == 200
    assert own_api.admin.delete(f"/v2/{name}/manifests/{Digest.of(raw)}").status_code == 202
    assert own_api.put_manifest(name, "v1", raw).status_code == 201
