"""Who may do what over a running registry: rules, tokens and their scopes, limits, and what of it is recorded."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
import pytest

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.distributions.records import Distribution
from oci.digest import Digest
from tests.api.conftest import Api, codes, random_blob, serve, simple_manifest
from tests.on_postgresql import staging_folder

PASSWORD = "correct horse"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass
class Site:
    """A registry with accounts: alice pushes below team/, bob pulls below team/, robot ci pushes to team/app."""

    api: Api
    desk: Administration

    def as_(self, name: str, secret: str = PASSWORD) -> httpx.Client:
        return self.api.client(auth=(name, secret))

    def token(self, login: tuple[str, str] | None, *scopes: str, **parameters: str) -> httpx.Response:
        with self.api.client(auth=login) as client:
            return client.get("/token", params={"service": "entrepot", "scope": list(scopes), **parameters})

    def bearer(self, token: str) -> httpx.Client:
        client = self.api.client()
        client.headers["Authorization"] = f"Bearer {token}"
        return client

    def publish(self, path: str, *, private: bool) -> None:
        found = self.api.catalog.distributions.get(path)
        self.api.catalog.distributions.put(replace(found, private=private), actor="admin")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("access") / "entrepot"
    with serve(home) as api:
        desk = Administration(
            AccessStore(api.catalog.settings, api.catalog.state),
            api.catalog.events,
            actor="test",
            now=lambda: datetime.now(UTC),
        )
        for name in ("alice", "bob", "carol"):
            desk.add_account(name, password=PASSWORD)
        desk.add_account("ci", password=None)
        desk.set_group("developers", ["alice"])
        desk.add_rule(["group:developers"], parse_grant("pull,push,delete:team/**"))
        desk.add_rule(["user:bob"], parse_grant("pull:team/**"))
        desk.add_rule(["robot:ci"], parse_grant("pull,push:team/app team/other"))
        api.put_manifest("team/app", "v1", simple_manifest(api, "team/app"))
        api.put_manifest("public/app", "v1", simple_manifest(api, "public/app"))
        yield_site = Site(api, desk)
        yield_site.publish("team/app", private=True)
        yield yield_site


def status(client: httpx.Client, method: str, path: str, **more: object) -> int:
    return client.request(method, path, **more).status_code  # type: ignore[arg-type]


WRITES = [
    ("POST", "/v2/team/app/blobs/uploads/"),
    ("PUT", "/v2/team/app/manifests/v2"),
    ("DELETE", "/v2/team/app/manifests/none"),
]


@pytest.mark.parametrize(
    ("who", "pull", "push", "delete"), [("alice", 200, 202, 404), ("bob", 200, 403, 403), ("carol", 403, 403, 403)]
)
def test_rules_decide(site: Site, who: str, pull: int, push: int, delete: int) -> None:
    with site.as_(who) as client:
        assert status(client, "GET", "/v2/team/app/manifests/v1") == pull
        assert status(client, "POST", "/v2/team/app/blobs/uploads/") == push
        assert status(client, "DELETE", "/v2/team/app/manifests/none") == delete
        assert status(client, "GET", "/v2/public/app/manifests/v1") == 200
        assert status(client, "POST", "/v2/public/app/blobs/uploads/") == 403


@pytest.mark.parametrize("who", ["", "carol"])
def test_private_content_cannot_be_told_from_none(site: Site, who: str) -> None:
    """By whoever may not pull it: same status, same words, same headers but for the name."""
    digest = Digest.of(b"nothing")
    client = site.as_(who) if who else site.api.client()
    with client:
        for place in ("tags/list", "manifests/v1", f"blobs/{digest}", f"referrers/{digest}"):
            there = client.get(f"/v2/team/app/{place}")
            nowhere = client.get(f"/v2/team/ghost/{place}")
            assert there.status_code == nowhere.status_code == (403 if who else 401)
            assert there.text.replace("team/app", "X") == nowhere.text.replace("team/ghost", "X")
            assert there.headers.get("www-authenticate", "").replace("team/app", "X") == nowhere.headers.get(
                "www-authenticate", ""
            ).replace("team/ghost", "X")
        assert "team/app" not in client.get("/v2/_catalog").json()["repositories"]


def test_the_catalog_lists_what_the_asker_may_pull(site: Site) -> None:
    with site.as_("bob") as bob, site.api.client() as nobody:
        assert {"team/app", "public/app"} <= set(bob.get("/v2/_catalog").json()["repositories"])
        assert nobody.get("/v2/_catalog").json()["repositories"] == ["public/app"]
    with site.bearer(site.token(("bob", PASSWORD), "registry:catalog:*").json()["token"]) as bob:
        assert "team/app" in bob.get("/v2/_catalog").json()["repositories"]


def test_a_challenge_names_where_and_for_what(site: Site) -> None:
    realm = f'Bearer realm="{site.api.url}/token",service="entrepot"'
    with site.api.client() as nobody:
        answer = nobody.get("/v2/team/app/manifests/v1")
        assert answer.headers["www-authenticate"] == f'{realm},scope="repository:team/app:pull"'
        answer = nobody.post("/v2/team/app/blobs/uploads/")
        assert answer.headers["www-authenticate"] == f'{realm},scope="repository:team/app:pull,push"'
        answer = nobody.delete("/v2/team/app/manifests/v1")
        assert answer.headers["www-authenticate"] == f'{realm},scope="repository:team/app:delete"'
        mount = {"mount": Digest.of(b"x"), "from": "team/other"}
        answer = nobody.post("/v2/team/app/blobs/uploads/", params=mount)
        scopes = "repository:team/app:pull,push repository:team/other:pull"
        assert answer.headers["www-authenticate"] == f'{realm},scope="{scopes}"'
        odd = nobody.get("/v2/", headers={"Host": 'x"y.example'})
        assert 'x"y' not in odd.headers.get("www-authenticate", "")


def test_a_token_has_the_form_that_clients_read(site: Site) -> None:
    answer = site.token(("alice", PASSWORD), "repository:team/app:pull,push,delete").json()
    assert answer["token"] == answer["access_token"]
    assert answer["expires_in"] >= 60
    datetime.strptime(answer["issued_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    header = jwt.get_unverified_header(answer["token"])
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert header["alg"] == "ES256"
    assert claims["sub"] == "alice"
    assert claims["access"] == [{"type": "repository", "name": "team/app", "actions": ["pull", "push", "delete"]}]
    assert PASSWORD not in str(claims)


def test_a_token_is_given_what_the_rules_allow_and_no_more(site: Site) -> None:
    def granted(login: tuple[str, str] | None, *scopes: str) -> str:
        return str(site.token(login, *scopes).json()["scope"])

    assert granted(("bob", PASSWORD), "repository:team/app:pull,push") == "repository:team/app:pull"
    assert granted(("alice", PASSWORD), "repository:team/app:*") == "repository:team/app:pull,push,delete"
    assert granted(("carol", PASSWORD), "repository:team/app:pull") == ""
    assert granted(None, "repository:public/app:pull,push") == "repository:public/app:pull"
    assert granted(None, "repository:team/app:pull") == ""
    two = granted(("bob", PASSWORD), "repository:team/app:pull repository:public/app:pull", "repository:Bad:pull", "x")
    assert two == "repository:team/app:pull repository:public/app:pull"


def test_a_bearer_token_does_what_its_scope_says(site: Site) -> None:
    token = site.token(("alice", PASSWORD), "repository:team/app:pull").json()["token"]
    with site.bearer(token) as client:
        assert status(client, "GET", "/v2/") == 200
        assert status(client, "GET", "/v2/team/app/manifests/v1") == 200
        answer = client.post("/v2/team/app/blobs/uploads/")
        assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert status(client, "GET", "/v2/public/app/manifests/v1") == 200
    token = site.token(("bob", PASSWORD), "repository:team/app:pull,push").json()["token"]
    with site.bearer(token) as client:  # a better token would not help: bob may not push
        answer = client.post("/v2/team/app/blobs/uploads/")
        assert (answer.status_code, codes(answer)) == (403, ["DENIED"])


def test_nobody_gets_a_token_too(site: Site) -> None:
    with site.bearer(site.token(None, "repository:public/app:pull").json()["token"]) as client:
        assert status(client, "GET", "/v2/") == 200
        assert status(client, "GET", "/v2/public/app/manifests/v1") == 200
        assert status(client, "GET", "/v2/team/app/manifests/v1") == 401
        assert status(client, "POST", "/v2/public/app/blobs/uploads/") == 401


def test_wrong_logins_get_no_token(site: Site) -> None:
    for login in (("alice", "wrong"), ("nobody", PASSWORD), ("ci", PASSWORD), ("oidc", "x")):
        answer = site.token(login, "repository:team/app:pull")
        assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])


def test_oauth2_by_post(site: Site) -> None:
    def post(**form: str) -> httpx.Response:
        with site.api.client() as client:
            return client.post("/token", data={"service": "entrepot", "client_id": "test", **form})

    scope = "repository:team/app:pull"
    made = post(grant_type="password", username="bob", password=PASSWORD, scope=scope, access_type="offline").json()
    with site.bearer(made["access_token"]) as client:
        assert status(client, "GET", "/v2/team/app/manifests/v1") == 200
    refresh = made["refresh_token"]
    again = post(grant_type="refresh_token", refresh_token=refresh, scope=scope)
    with site.bearer(again.json()["access_token"]) as client:
        assert status(client, "GET", "/v2/team/app/manifests/v1") == 200
    with site.bearer(refresh) as client:
        assert status(client, "GET", "/v2/") == 401
    assert post(grant_type="refresh_token", refresh_token=made["access_token"]).status_code == 401
    assert post(grant_type="password", username="bob", password="wrong").status_code == 401
    assert post(grant_type="magic").status_code == 400
    site.desk.add_account("dave", password=PASSWORD)
    offline = site.token(("dave", PASSWORD), offline_token="true").json()["refresh_token"]
    assert post(grant_type="refresh_token", refresh_token=offline).status_code == 200
    site.desk.change_account("dave", password="another one")
    assert post(grant_type="refresh_token", refresh_token=offline).status_code == 401


def test_a_right_that_is_taken_away_is_gone_at_once(site: Site) -> None:
    site.desk.add_account("erin", password=PASSWORD)
    rule = site.desk.add_rule(["user:erin"], parse_grant("pull:team/**"))
    with (
        site.bearer(site.token(("erin", PASSWORD), "repository:team/app:pull").json()["token"]) as bearer,
        site.as_("erin") as basic,
    ):
        assert status(bearer, "GET", "/v2/team/app/tags/list") == status(basic, "GET", "/v2/team/app/tags/list") == 200
        site.desk.remove_rule(rule.id)
        assert status(bearer, "GET", "/v2/team/app/tags/list") == status(basic, "GET", "/v2/team/app/tags/list") == 403
        site.desk.add_rule(["user:erin"], parse_grant("pull:team/**"))
        assert status(bearer, "GET", "/v2/team/app/tags/list") == 200
        site.desk.change_account("erin", disabled=True)
        assert status(bearer, "GET", "/v2/team/app/tags/list") == status(basic, "GET", "/v2/team/app/tags/list") == 401
        site.desk.change_account("erin", disabled=False)
        site.desk.remove_account("erin")
        assert status(bearer, "GET", "/v2/team/app/tags/list") == 401


def test_robots_log_in_by_tokens_that_can_be_narrow_end_and_be_revoked(site: Site) -> None:
    made = site.desk.add_token("ci")
    with site.as_("ci", made.secret) as client:
        assert status(client, "POST", "/v2/team/app/blobs/uploads/") == 202
        assert status(client, "POST", "/v2/team/elsewhere/blobs/uploads/") == 403
    narrow = site.desk.add_token("ci", grants=[parse_grant("pull:team/app")])
    with site.as_("ci", narrow.secret) as client:
        assert status(client, "GET", "/v2/team/app/tags/list") == 200
        assert status(client, "POST", "/v2/team/app/blobs/uploads/") == 401
    asked = site.token(("ci", narrow.secret), "repository:team/app:pull,push").json()
    assert asked["scope"] == "repository:team/app:pull"
    with site.bearer(asked["token"]) as bearer, site.as_("alice", narrow.secret) as other:
        assert status(bearer, "GET", "/v2/team/app/tags/list") == 200
        assert status(other, "GET", "/v2/team/app/tags/list") == 401
        site.desk.revoke_token(narrow.token.id)
        assert status(bearer, "GET", "/v2/team/app/tags/list") == 401
    ended = site.desk.add_token("ci", lifetime=timedelta(microseconds=1))
    with site.as_("ci", ended.secret) as client:
        assert status(client, "GET", "/v2/team/app/tags/list") == 401
    assert made.secret not in str(site.desk.policy.model_dump())


def test_keys_rotate_and_can_be_retired(site: Site) -> None:
    old = site.token(("bob", PASSWORD), "repository:team/app:pull").json()["token"]
    site.desk.rotate_key()
    new = site.token(("bob", PASSWORD), "repository:team/app:pull").json()["token"]
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    for token in (old, new):
        with site.bearer(token) as client:
            assert status(client, "GET", "/v2/team/app/tags/list") == 200
    site.desk.rotate_key(retire=True)
    fresh = site.token(("bob", PASSWORD), "repository:team/app:pull").json()["token"]
    # What was used before is remembered until it ends; what is read anew is refused.
    with serve_again(site) as api:
        for token, expected in ((old, 401), (new, 401), (fresh, 200)):
            headers = {"Authorization": f"Bearer {token}"}
            assert api.anybody.get("/v2/team/app/tags/list", headers=headers).status_code == expected
    for token, expected in ((old, 401), (new, 401), (fresh, 200)):
        with site.bearer(token) as client:
            assert status(client, "GET", "/v2/team/app/tags/list") == expected


def serve_again(site: Site):  # type: ignore[no-untyped-def]
    return serve(site.api.catalog.settings.root)


@pytest.mark.parametrize("flaw", ["none", "algorithm", "another key", "expired", "another audience", "a byte"])
def test_forged_tokens_are_refused(site: Site, flaw: str) -> None:
    good = site.token(("admin", site.api.password), "repository:team/app:pull").json()["token"]
    claims = jwt.decode(good, options={"verify_signature": False})
    key = site.desk.policy.keys[-1]
    headers = {"kid": key.id}
    from catalog.access.bearer_tokens import make_key

    match flaw:
        case "none":
            token = jwt.encode(claims, "", "none", headers=headers)
        case "algorithm":
            token = jwt.encode(claims, "a shared secret that is long enough" * 2, "HS256", headers=headers)
        case "another key":
            token = jwt.encode(claims, make_key(NOW).pem, "ES256", headers=headers)
        case "expired":
            token = jwt.encode({**claims, "exp": time.time() - 1}, key.pem, "ES256", headers=headers)
        case "another audience":
            token = jwt.encode({**claims, "aud": "elsewhere"}, key.pem, "ES256", headers=headers)
        case _:
            middle = len(good) // 2
            token = good[:middle] + ("A" if good[middle] != "A" else "B") + good[middle + 1 :]
    with site.bearer(token) as client:
        answer = client.get("/v2/team/app/tags/list")
        assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_mounts_heed_the_right_to_read(site: Site) -> None:
    data = random_blob()
    secret = site.api.push_blob("hidden/app", data)
    site.api.put_manifest("hidden/app", "v1", simple_manifest(site.api, "hidden/app"))
    site.publish("hidden/app", private=True)
    with site.as_("alice") as client:
        for more in ({"from": "hidden/app"}, {}):
            answer = client.post("/v2/team/app/blobs/uploads/", params={"mount": secret, **more})
            assert answer.status_code == 202
        own = site.api.push_blob("team/other", random_blob())
        site.api.put_manifest("team/other", "v1", simple_manifest(site.api, "team/other"))
        for more in ({"from": "team/other"}, {}):
            answer = client.post("/v2/team/mounted/blobs/uploads/", params={"mount": own, **more})
            assert answer.status_code == 201, more


def test_what_is_refused_and_administered_is_recorded(site: Site) -> None:
    with site.as_("carol") as carol, site.as_("carol", "wrong") as wrong:
        assert status(carol, "GET", "/v2/team/app/manifests/v1") == 403
        assert status(wrong, "GET", "/v2/team/app/manifests/v1") == 401
    events = site.api.catalog.events
    events.flush(lambda: datetime.now(UTC))
    (refused, *_) = events.latest(actor="carol", action="pull")
    assert (refused.name, refused.outcome, refused.address) == ("team/app", "refused", "127.0.0.1")
    (login, *_) = events.latest(actor="carol", action="login")
    assert login.outcome == "refused"
    (made, *_) = events.latest(action="create-robot")
    assert (made.actor, made.name, made.outcome) == ("test", "ci", "done")
    pushed = events.latest(action="push", name="team/app")
    assert pushed[-1].actor == "admin"
    assert pushed[-1].detail["version"] == 1
    assert "wrong" not in str(events.latest(limit=1000)).replace("wrong user name", "")


def test_immutable_tags_stay(site: Site) -> None:
    name = "team/fixed"
    raw = simple_manifest(site.api, name)
    assert site.api.put_manifest(name, "v1.0", raw).status_code == 201
    found = site.api.catalog.distributions.get(name)
    site.api.catalog.distributions.put(replace(found, immutable_tags=("v*",)), actor="admin")
    site.api.catalog.distributions.put(Distribution("team/second", name, NOW, NOW), actor="admin")
    other = simple_manifest(site.api, name, annotations={"a": "b"})
    for path in (name, "team/second"):
        answer = site.api.put_manifest(path, "v1.0", other)
        assert (answer.status_code, codes(answer)) == (403, ["DENIED"])
        assert "v*" in answer.json()["errors"][0]["message"]
        for reference in ("v1.0", Digest.of(raw)):
            assert site.api.admin.delete(f"/v2/{path}/manifests/{reference}").status_code == 403
    assert site.api.put_manifest(name, "v1.0", raw).status_code == 201
    assert site.api.put_manifest(name, "v1.1", other).status_code == 201
    assert site.api.put_manifest(name, "latest", other).status_code == 201
    assert site.api.put_manifest(name, "latest", raw).status_code == 201
    assert site.api.admin.delete(f"/v2/{name}/manifests/latest").status_code == 202


def test_distributions_and_labels_survive_a_restart(site: Site) -> None:
    found = site.api.catalog.distributions.get("public/app")
    made = replace(found, labels={"stage": "prod"}, immutable_tags=("a*", "b"), description="x")
    site.api.catalog.distributions.put(made, actor="admin")
    site.api.catalog.distributions.reload()
    assert site.api.catalog.distributions.get("public/app") == made


# --- settings ---


def test_read_only_refuses_every_change(tmp_path: Path) -> None:
    with serve(tmp_path / "home") as api:
        api.put_manifest("team/app", "v1", simple_manifest(api, "team/app"))
    with serve(tmp_path / "home", read_only=True) as api:
        for method, path in WRITES:
            answer = api.admin.request(method, path)
            assert (answer.status_code, codes(answer)) == (405, ["UNSUPPORTED"])
        assert api.admin.delete("/api/v1/distributions/team/app").status_code == 405
        assert api.anybody.get("/v2/team/app/manifests/v1").status_code == 200


def test_basic_alone_where_no_token_service_is_wanted(tmp_path: Path) -> None:
    with serve(tmp_path / "home", auth="basic") as api:
        answer = api.anybody.get("/v2/")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Basic realm="')
        assert api.admin.get("/v2/").status_code == 200


def test_a_public_url_stands_in_challenges(tmp_path: Path) -> None:
    with serve(tmp_path / "home", public_url="https://registry.example/") as api:
        said = api.anybody.get("/v2/").headers["www-authenticate"]
        assert said.startswith('Bearer realm="https://registry.example/token"')


def test_pushes_make_private_repositories_where_that_is_wished(tmp_path: Path) -> None:
    with serve(tmp_path / "home", new_repositories="private") as api:
        api.put_manifest("team/app", "v1", simple_manifest(api, "team/app"))
        assert api.anybody.get("/v2/team/app/manifests/v1").status_code == 401
        assert api.admin.get("/v2/team/app/manifests/v1").status_code == 200


def test_blobs_above_the_limit_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with serve(tmp_path / "home", max_blob_size=1000) as api:
        data = b"x" * 1001
        whole = api.admin.post("/v2/a/blobs/uploads/", params={"digest": Digest.of(data)}, content=data)
        assert (whole.status_code, codes(whole)) == (413, ["SIZE_INVALID"])
        location = api.open_upload("a")
        assert api.admin.patch(location, content=b"x" * 600).status_code == 202
        streamed = api.admin.patch(location, content=iter([b"x" * 300, b"x" * 300]))
        assert streamed.status_code == 413
        assert api.admin.get(location).status_code == 404
        assert api.push_blob("a", b"x" * 1000)
        assert list(staging_folder(tmp_path / "home").iterdir()) == []


def test_so_many_uploads_may_be_open(tmp_path: Path) -> None:
    with serve(tmp_path / "home", max_uploads=2) as api:
        first = api.open_upload("a")
        api.open_upload("a")
        answer = api.admin.post("/v2/a/blobs/uploads/")
        assert (answer.status_code, codes(answer)) == (429, ["TOOMANYREQUESTS"])
        assert int(answer.headers["retry-after"]) >= 1
        api.open_upload("b")
        assert api.admin.delete(first).status_code == 204
        api.open_upload("a")


def test_requests_are_limited_for_each_identity(tmp_path: Path) -> None:
    with serve(tmp_path / "home", request_rate=0.5) as api:
        answers = [api.anybody.get("/v2/_catalog") for _ in range(12)]
        limited = [answer for answer in answers if answer.status_code == 429]
        assert 5 <= len(limited) <= 8
        assert codes(limited[0]) == ["TOOMANYREQUESTS"]
        assert int(limited[0].headers["retry-after"]) >= 1
        assert api.admin.get("/v2/_catalog").status_code == 200
