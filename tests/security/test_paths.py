"""A path serves exactly the version that it names: neither leases, nor later versions, nor what came in private days."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from tests.api.conftest import Api, random_blob, serve, simple_manifest

PASSWORD = "correct horse"
SECRET = "secret/app"
PUBLIC = "public/release"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """secret/app is private and has three versions; public/release serves the second. mallory pushes to mallory/**."""
    with serve(tmp_path_factory.mktemp("paths") / "entrepot") as api:
        desk = Administration(
            AccessStore(api.catalog.settings, api.catalog.state),
            api.catalog.events,
            actor="test",
            now=lambda: datetime.now(UTC),
        )
        for account, grant in (("mallory", "pull,push:mallory/**"), ("insider", "pull:secret/**")):
            desk.add_account(account, password=PASSWORD)
            desk.add_rule([f"user:{account}"], parse_grant(grant))
        for tag in ("v1", "v2", "v3"):
            assert api.put_manifest(SECRET, tag, simple_manifest(api, SECRET)).status_code == 201
        _set(api, SECRET, private=True)
        _set(api, PUBLIC, repository=SECRET, version=2)
        yield api


def _set(api: Api, path: str, **fields: object) -> httpx.Response:
    answer = api.admin.put(f"/api/v1/distributions/{path}", json={"repository": path, **fields})
    assert answer.status_code == 200, answer.text
    return answer


def _layer_of(api: Api, tag: str, name: str = SECRET) -> str:
    return str(api.admin.get(f"/v2/{name}/manifests/{tag}").json()["layers"][0]["digest"])


@pytest.mark.parametrize("path", [PUBLIC, f"history/2/{PUBLIC}"])
def test_a_fixed_path_gives_its_version_and_nothing_else(site: Api, path: str) -> None:
    leased = site.push_blob(SECRET, random_blob())
    later = _layer_of(site, "v3")
    assert site.anybody.get(f"/v2/{path}/blobs/{_layer_of(site, 'v2')}").status_code == 200
    for digest in (leased, later):
        for client in (site.anybody, site.admin):
            for method in ("GET", "HEAD"):
                assert client.request(method, f"/v2/{path}/blobs/{digest}").status_code == 404
    assert site.anybody.get(f"/v2/{path}/manifests/v3").status_code == 404


@pytest.mark.parametrize("path", [PUBLIC, f"history/2/{PUBLIC}"])
def test_a_mount_from_a_fixed_path_gives_its_version_and_nothing_else(site: Api, path: str) -> None:
    leased = site.push_blob(SECRET, random_blob())
    with site.client(("mallory", PASSWORD)) as mallory:

        def mount(digest: str) -> int:
            return mallory.post("/v2/mallory/app/blobs/uploads/", params={"mount": digest, "from": path}).status_code

        assert mount(_layer_of(site, "v2")) == 201
        assert {mount(digest) for digest in (leased, _layer_of(site, "v3"))} == {202}


def test_what_is_only_uploaded_is_for_those_who_push_there_unless_always_public(site: Api) -> None:
    name = "open/app"
    site.put_manifest(name, "v1", simple_manifest(site, name))
    leased = site.push_blob(name, random_blob())
    assert site.admin.get(f"/v2/{name}/blobs/{leased}").status_code == 200
    assert site.anybody.get(f"/v2/{name}/blobs/{leased}").status_code == 200  # clients read what they have just pushed
    found = site.catalog.distributions.get(name)
    site.catalog.distributions.put(replace(found, private=True), actor="test")
    site.put_manifest(name, "v2", simple_manifest(site, name))
    site.catalog.distributions.put(replace(found, private=False), actor="test")
    assert site.catalog.distributions.get(name).history_from > 1
    assert site.anybody.get(f"/v2/{name}/blobs/{leased}").status_code == 404
    with site.client(("mallory", PASSWORD)) as mallory:
        assert mallory.get(f"/v2/{name}/blobs/{leased}").status_code == 404
        for params in ({"mount": leased, "from": name}, {"mount": leased}):
            assert mallory.post("/v2/mallory/app/blobs/uploads/", params=params).status_code == 202
        own = mallory.post("/v2/mallory/new/blobs/uploads/", params={"digest": leased}, content=b"x")
        assert own.status_code == 400
    grown = site.push_blob("fresh/app", random_blob())  # there is no distribution yet
    assert site.admin.head(f"/v2/fresh/app/blobs/{grown}").status_code == 200


def test_nothing_names_the_repository_behind_a_path(site: Api) -> None:
    with site.client(("mallory", PASSWORD)) as mallory:
        for client in (site.anybody, mallory):
            (listed,) = [
                one for one in client.get("/api/v1/distributions").json()["distributions"] if one["path"] == PUBLIC
            ]
            assert listed["repository"] == ""
            answers = [
                client.get(url)
                for url in (
                    "/api/v1/distributions",
                    "/index/static",
                    "/v2/_catalog",
                    f"/v2/{PUBLIC}/manifests/none",
                    f"/v2/{PUBLIC}/manifests/sha256:{'0' * 64}",
                    f"/v2/{PUBLIC}/blobs/sha256:{'0' * 64}",
                    f"/v2/{PUBLIC}/tags/list",
                    f"/v2/{PUBLIC}/referrers/sha256:{'0' * 64}",
                    f"/extensions/v2/{PUBLIC}/signatures/sha256:{'0' * 64}",
                    f"/v2/history/3/{PUBLIC}/tags/list",
                    f"/v2/history/99/{PUBLIC}/tags/list",
                    f"/v2/history/2001-01-01/{PUBLIC}/tags/list",
                )
            ]
            assert not [answer.url for answer in answers if SECRET in answer.text or SECRET in str(answer.headers)]
    for name, auth in (("insider", ("insider", PASSWORD)), ("admin", None)):
        with site.client(auth) if auth else site.client(("admin", site.password)) as client:
            listed = client.get("/api/v1/distributions").json()["distributions"]
            assert [one["repository"] for one in listed if one["path"] == PUBLIC] == [SECRET], name


def _turned(site: Api, name: str, **fields: object) -> None:
    """Three versions, of which two came in private days."""
    assert site.put_manifest(name, "old", simple_manifest(site, name)).status_code == 201
    _set(site, name, private=True)
    assert site.put_manifest(name, "secret", simple_manifest(site, name)).status_code == 201
    assert site.admin.delete(f"/v2/{name}/manifests/secret").status_code == 202
    _set(site, name, private=False, **fields)
    assert site.put_manifest(name, "new", simple_manifest(site, name)).status_code == 201


def test_what_turns_public_does_not_open_its_private_days(site: Api) -> None:
    name = "turned/app"
    _turned(site, name)
    moment = f"{site.catalog.history.version(name, 2).created_at + timedelta(seconds=0):%Y-%m-%dt%H.%M.%Sz}"
    assert site.anybody.get(f"/v2/{name}/manifests/new").status_code == 200
    for number, status in ((1, 401), (2, 401), (3, 200), (4, 200), (99, 404)):
        assert site.anybody.get(f"/v2/history/{number}/{name}/tags/list").status_code == status, number
    assert site.anybody.get(f"/v2/history/{moment}/{name}/tags/list").status_code in {401, 200}
    assert site.anybody.get(f"/v2/history/2001-01-01/{name}/tags/list").status_code == 401
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    assert site.anybody.get(f"/v2/history/{tomorrow}/{name}/manifests/new").status_code == 200
    token = site.anybody.get("/token", params={"scope": f"repository:history/2/{name}:pull"}).json()
    assert token["scope"] == ""
    bearer = {"Authorization": f"Bearer {token['token']}"}
    assert site.anybody.get(f"/v2/history/2/{name}/tags/list", headers=bearer).status_code == 401
    assert site.admin.get(f"/v2/history/2/{name}/manifests/secret").status_code == 200
    layer = _layer_of(site, "secret", f"history/2/{name}")
    with site.client(("mallory", PASSWORD)) as mallory:
        assert mallory.get(f"/v2/history/2/{name}/tags/list").status_code == 403
        mounted = mallory.post("/v2/mallory/app/blobs/uploads/", params={"mount": layer, "from": f"history/2/{name}"})
        assert mounted.status_code == 202
    _set(site, name, description="said otherwise")
    assert site.anybody.get(f"/v2/history/3/{name}/tags/list").status_code == 200


def test_the_past_can_be_opened_and_another_repository_closes_it(site: Api) -> None:
    name = "opened/app"
    _turned(site, name, history_from=2)
    for number, status in ((1, 401), (2, 200), (3, 200)):
        assert site.anybody.get(f"/v2/history/{number}/{name}/tags/list").status_code == status, number
    _set(site, name, repository=SECRET)
    assert site.anybody.get(f"/v2/history/1/{name}/tags/list").status_code == 401
    assert site.anybody.get(f"/v2/history/3/{name}/tags/list").status_code == 200


def test_a_fixed_path_that_follows_again_opens_what_it_serves_from_then_on(site: Api) -> None:
    path = "public/follower"
    _set(site, path, repository=SECRET, version=1)
    _set(site, path, repository=SECRET)
    for number, status in ((1, 401), (2, 401), (3, 200)):
        assert site.anybody.get(f"/v2/history/{number}/{path}/tags/list").status_code == status, number
