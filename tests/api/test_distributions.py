"""What a path serves: the latest version, a pinned one, somebody's repository under another name, or nobody's business."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from catalog.catalog import open_catalog
from catalog.distributions.records import Distribution
from oci import mediatypes
from oci.digest import Digest
from tests.api.conftest import Api, codes, random_blob, simple_manifest

NOW = datetime(2026, 1, 2, tzinfo=UTC)
Push = Callable[..., Digest]


@pytest.fixture
def path(api: Api, name: str, push_simple: Push) -> str:
    """A second path to the test's repository, which has version 1; another process has made it."""
    push_simple("v1")
    with open_catalog(api.catalog.settings) as other:
        other.distributions.put(Distribution(f"served/{name}", name, NOW, NOW), actor="admin")
    return f"served/{name}"


def change(api: Api, path: str, **fields: object) -> None:
    api.catalog.snapshots.refresh()
    api.catalog.distributions.put(replace(api.catalog.distributions.get(path), **fields), actor="admin")  # type: ignore[arg-type]


def test_a_second_path_serves_the_same(api: Api, name: str, path: str, push_simple: Push) -> None:
    digest = push_simple("v2")
    for place in (name, path):
        assert api.anybody.get(f"/v2/{place}/manifests/v2").headers["docker-content-digest"] == digest
    listed = api.anybody.get(f"/v2/{path}/tags/list").json()
    assert (listed["name"], listed["tags"]) == (path, ["v1", "v2"])
    assert path in api.anybody.get("/v2/_catalog").json()["repositories"]


def test_a_push_to_a_path_goes_to_its_repository(api: Api, name: str, path: str) -> None:
    data = random_blob()
    location = api.open_upload(path)
    assert location.startswith(f"/v2/{path}/blobs/uploads/")
    assert api.admin.get(location).status_code == 204
    answer = api.admin.put(location, params={"digest": Digest.of(data)}, content=data)
    assert answer.headers["location"] == f"/v2/{path}/blobs/{Digest.of(data)}"
    raw = simple_manifest(api, path)
    assert api.put_manifest(path, "pushed", raw).status_code == 201
    assert api.anybody.get(f"/v2/{name}/manifests/pushed").content == raw
    assert not api.catalog.snapshots.has(path)
    mounted = api.admin.post("/v2/elsewhere/app/blobs/uploads/", params={"mount": Digest.of(data), "from": path})
    assert mounted.status_code == 201


def test_a_pinned_path_stays_and_refuses_pushes(api: Api, name: str, path: str, push_simple: Push) -> None:
    change(api, path, version=1)
    old = api.anybody.get(f"/v2/{path}/manifests/v1").content
    digest = push_simple("v1")
    assert api.anybody.get(f"/v2/{name}/manifests/v1").headers["docker-content-digest"] == digest
    assert api.anybody.get(f"/v2/{path}/manifests/v1").content == old
    assert api.anybody.get(f"/v2/{path}/manifests/{digest}").status_code == 404
    refused = [
        api.admin.post(f"/v2/{path}/blobs/uploads/"),
        api.put_manifest(path, "v2", b"{}"),
        api.admin.delete(f"/v2/{path}/manifests/v1"),
    ]
    for answer in refused:
        assert (answer.status_code, codes(answer)) == (403, ["DENIED"])
    change(api, path, version=None)
    assert api.anybody.get(f"/v2/{path}/manifests/v1").headers["docker-content-digest"] == digest


def test_a_private_path_needs_a_login(api: Api, name: str, path: str) -> None:
    change(api, path, private=True)
    digest = api.admin.get(f"/v2/{path}/manifests/v1").headers["docker-content-digest"]
    blob = api.admin.get(f"/v2/{path}/manifests/v1").json()["layers"][0]["digest"]
    for place in ("tags/list", "manifests/v1", f"manifests/{digest}", f"blobs/{blob}", f"referrers/{digest}"):
        answer = api.anybody.get(f"/v2/{path}/{place}")
        assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])
        assert api.admin.get(f"/v2/{path}/{place}").status_code == 200
    assert path not in api.anybody.get("/v2/_catalog").json()["repositories"]
    assert path in api.admin.get("/v2/_catalog").json()["repositories"]


def test_without_a_path_nothing_is_served_and_a_push_is_told(api: Api, name: str, push_simple: Push) -> None:
    push_simple("v1")
    api.catalog.distributions.delete(name, actor="admin")
    assert api.anybody.get(f"/v2/{name}/manifests/v1").status_code == 401
    assert api.admin.get(f"/v2/{name}/manifests/v1").status_code == 404
    answer = api.put_manifest(name, "v2", b"{}", mediatypes.OCI_MANIFEST)
    assert answer.status_code == 403
    assert "distribution create" in answer.json()["errors"][0]["message"]
