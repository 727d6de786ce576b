"""Versions over HTTP: what each right is good for, and that clients see what was done with their next request."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from tests.api.conftest import Api, codes, serve, simple_manifest

PASSWORD = "correct horse"
NAME = "team/app"


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A registry, with reader and writer of team/**."""
    with serve(tmp_path_factory.mktemp("versions") / "entrepot") as api:
        desk = Administration(
            AccessStore(api.catalog.settings, api.catalog.state),
            api.catalog.events,
            actor="test",
            now=lambda: datetime.now(UTC),
        )
        for account, grant in (("reader", "pull:team/**"), ("writer", "pull,push,delete:team/**")):
            desk.add_account(account, password=PASSWORD)
            desk.add_rule([f"user:{account}"], parse_grant(grant))
        for tag in ("v1", "v2", "v1", "v3", "v4"):
            api.put_manifest(NAME, tag, simple_manifest(api, NAME))
        api.put_manifest("other/app", "v1", simple_manifest(api, "other/app"))
        yield api


def test_rights(managed: Api) -> None:
    reads = [f"/version/1/{NAME}", f"/diff?old={NAME}@1&new={NAME}", f"/pins/{NAME}"]
    changes: list[tuple[str, str, object]] = [
        ("PUT", f"/pins/1/{NAME}", {}),
        ("DELETE", f"/pins/1/{NAME}", None),
        ("DELETE", f"/versions/{NAME}?version=1", None),
        ("DELETE", f"/repositories/{NAME}", None),
    ]
    with managed.client(("reader", PASSWORD)) as reader, managed.client(("writer", PASSWORD)) as writer:
        for path in reads:
            assert reader.get(f"/api/v1{path}").status_code == 200
            assert managed.anybody.get(f"/api/v1{path}").status_code == 401
        assert reader.get(f"/api/v1/diff?old={NAME}@1&new=other/app").status_code == 403
        for method, path, body in changes:
            assert writer.request(method, f"/api/v1{path}", json=body).status_code == 403, path
        assert reader.post(f"/api/v1/restore/{NAME}", json={"version": 1}).status_code == 403
        assert writer.post(f"/api/v1/restore/{NAME}", json={"version": 1, "dry_run": True}).status_code == 200
    assert len(managed.catalog.history.versions(NAME)) == 5


def test_shown_and_compared(managed: Api) -> None:
    shown = managed.admin.get(f"/api/v1/version/3/{NAME}").json()
    assert (shown["number"], shown["base"], shown["operation"], shown["pinned"]) == (3, 2, "push", False)
    assert {(one["action"], one["tag"]) for one in shown["changes"] if one["kind"] == "tag"} == {
        ("add", "v1"),
        ("remove", "v1"),
    }
    assert managed.admin.get(f"/api/v1/version/3/{NAME}", params={"n": 1}).json()["changes"] == shown["changes"][:1]
    found = managed.admin.get("/api/v1/diff", params={"old": f"{NAME}@1", "new": f"{NAME}@3", "packages": True}).json()
    assert (list(found["tags_moved"]), list(found["tags_added"]), found["without_packages"]) == (["v1"], ["v2"], ["v1"])
    assert managed.admin.get("/api/v1/diff", params={"old": f"{NAME}@99", "new": NAME}).status_code == 404
    assert managed.admin.get("/api/v1/diff", params={"old": f"{NAME}@x", "new": NAME}).status_code == 400


def test_restored_pinned_and_deleted(managed: Api) -> None:
    admin, name = managed.admin, "team/second"
    for tag in ("v1", "v2", "v3"):
        managed.put_manifest(name, tag, simple_manifest(managed, name))
    planned = admin.post(f"/api/v1/restore/{name}", json={"version": 1, "dry_run": True}).json()
    assert (planned["version"], planned["changed"], planned["tags_removed"]) == (3, False, 2)
    done = admin.post(f"/api/v1/restore/{name}", json={"version": 1}).json()
    assert (done["base_version"], done["version"], done["changed"]) == (3, 4, True)
    assert admin.get(f"/v2/{name}/tags/list").json()["tags"] == ["v1"]
    assert managed.catalog.history.version(name, 4).actor == "admin"
    admin.put(f"/api/v1/distributions/{name}", json={"repository": name, "immutable_tags": ["v*"]})
    assert codes(admin.post(f"/api/v1/restore/{name}", json={"version": 0})) == ["DENIED"]
    assert admin.post(f"/api/v1/restore/{name}", json={"version": 9}).status_code == 404

    assert admin.put(f"/api/v1/pins/2/{name}", json={"note": "a release"}).json()["actor"] == "admin"
    assert [one["version"] for one in admin.get(f"/api/v1/pins/{name}").json()] == [2]
    refused = admin.delete(f"/api/v1/versions/{name}", params={"version": "1-3"})
    assert (refused.status_code, codes(refused)) == (409, ["DENIED"])
    assert "a release" in refused.json()["errors"][0]["message"]
    assert admin.delete(f"/api/v1/pins/2/{name}").status_code == 204
    assert admin.delete(f"/api/v1/pins/2/{name}").status_code == 404
    # two manifests and two layers could be freed; the config is elsewhere too
    planned = admin.delete(f"/api/v1/versions/{name}", params={"version": ["1", "2-3"], "dry_run": True}).json()
    assert (planned["deleted"], planned["free_blobs"]) == ([1, 2, 3], 4)
    assert admin.delete(f"/api/v1/versions/{name}", params={"version": ["1", "2-3"]}).json()["deleted"] == [1, 2, 3]
    assert [one["number"] for one in admin.get(f"/api/v1/versions/{name}").json()] == [4]
    assert admin.get(f"/v2/{name}/manifests/v1").status_code == 200
    assert admin.delete(f"/api/v1/repositories/{name}").json()["deleted"] == [4]
    assert admin.get(f"/v2/{name}/tags/list").status_code == 404
    assert name not in admin.get("/v2/_catalog").json()["repositories"]
    actions = [one["action"] for one in admin.get("/api/v1/events", params={"name": name}).json()]
    assert {"pin-version", "unpin-version", "delete-version", "delete-repository", "restore"} <= set(actions)
