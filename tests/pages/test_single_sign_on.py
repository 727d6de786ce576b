"""Logging in at an issuer by the code flow: in a real browser, and all that must be refused."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import BrowserContext

from catalog.access.administration import Administration
from catalog.access.policy import Trust
from catalog.access.store import AccessStore
from catalog.settings import read_settings
from oci.errors import SettingsInvalid
from registry_api.auth.code_flow import code_challenge, open_code_flow, read_client_secret
from tests.api.conftest import Api, serve
from tests.issuer import CLIENT, SECRET, Issuer
from tests.pages.conftest import BROWSER, Shown
from tests.pages.content import add_account
from tests.servers import free_port, wait_until


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()


def add_trust(api: Api, issuer: str, audience: str, account: str, email: str) -> None:
    administration_of(api).add_trust(
        Trust(name=f"{account}-{audience}"[:60].replace(" ", "-"), issuer=issuer, audience=audience,
              claims={"email": email}, account=account)
    )  # fmt: skip


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def site(tmp_path: Path, issuer: Issuer, port: int) -> Iterator[Shown]:
    """A registry whose people log in at the issuer; alice has an account."""
    secret = tmp_path / "client-secret"
    secret.write_text(f"{SECRET}\n")
    with (
        serve(
            tmp_path / "entrepot",
            port=port,
            public_url=f"http://127.0.0.1:{port}",
            login_issuer=issuer.url,
            login_client_id=CLIENT,
            login_client_secret_file=secret,
        ) as api,
        contextlib.closing(Shown(api, {})) as found,
    ):
        add_account(api.catalog, "alice", "pull:team/**")
        add_trust(api, issuer.url, CLIENT, "alice", "alice@example.org")
        yield found


def begin(client: httpx.Client, to: str = "/repositories?q=a") -> str:
    """Begin a login, let the issuer answer; the URL that the browser is sent back to."""
    answer = client.get("/login/oidc", params={"next": to})
    assert answer.status_code == 303, answer.text
    back = httpx.get(answer.headers["location"], trust_env=False)
    assert back.status_code == 302, back.text
    return str(back.headers["location"])


def is_logged_in(client: httpx.Client) -> bool:
    return ">Log out</button>" in client.get("/").text


def test_a_person_logs_in_in_a_browser_and_comes_back(site: Shown, issuer: Issuer, context: BrowserContext) -> None:
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(f"{site.api.url}/login?next=/repositories?q=a")
    page.click(f"text=Log in with {urlsplit(issuer.url).netloc}")
    page.wait_for_url(f"{site.api.url}/repositories?q=a")
    assert page.locator(".account").inner_text() == "alice"
    (cookie,) = [one for one in context.cookies() if one["name"].startswith("entrepot-")]
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("entrepot-session", True, "Lax")
    page.click("text=Log out")
    page.wait_for_url(f"{site.api.url}/")
    assert faults == []


def test_the_request_to_the_issuer_is_that_of_the_code_flow_with_pkce(site: Shown, issuer: Issuer) -> None:
    client = site.visitor()
    answer = client.get("/login/oidc")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert answer.headers["location"].startswith(f"{issuer.url}/authorize?")
    assert asked["redirect_uri"] == f"{site.api.url}/login/oidc/callback"
    assert (asked["response_type"], asked["client_id"], asked["scope"]) == ("code", CLIENT, "openid email profile")
    assert asked["code_challenge_method"] == "S256"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert min(map(len, (asked["state"], asked["nonce"], asked["code_challenge"]))) >= 43
    back = httpx.get(answer.headers["location"], trust_env=False).headers["location"]
    ended = client.get(back)
    assert (ended.status_code, ended.headers["location"]) == (303, "/")
    assert code_challenge(issuer.forms[0]["code_verifier"]) == asked["code_challenge"]
    assert "client_secret" not in issuer.forms[0]
    assert is_logged_in(client)
    assert "entrepot-login" not in client.cookies


def test_a_client_secret_goes_by_the_form_where_the_issuer_wants_it_so(site: Shown, issuer: Issuer) -> None:
    issuer.methods = ["client_secret_post"]
    client = site.visitor()
    assert client.get(begin(client)).status_code == 303
    assert issuer.forms[0]["client_secret"] == SECRET


@pytest.mark.parametrize("changes", [{"state": "x" * 43}, {"state": ""}, {"iss": "https://other.example"}])
def test_a_response_to_another_request_is_refused(site: Shown, issuer: Issuer, changes: dict[str, str]) -> None:
    client = site.visitor()
    answer = client.get(str(httpx.URL(begin(client)).copy_merge_params(changes)))
    assert answer.status_code == 400
    assert "begin again" in answer.text
    assert issuer.forms == []
    assert not is_logged_in(client)


def test_a_response_is_of_use_to_the_browser_alone_that_has_begun(site: Shown, issuer: Issuer) -> None:
    """So nobody is logged in as somebody else by a link."""
    mallory, victim = site.visitor(), site.visitor()
    back = begin(mallory)
    begin(victim)
    for client in (victim, site.visitor()):
        assert client.get(back).status_code == 400
        assert not is_logged_in(client)
    assert issuer.forms == []


def test_a_response_counts_once(site: Shown, issuer: Issuer) -> None:
    client = site.visitor()
    back = begin(client)
    copy = site.visitor()
    copy.headers["Cookie"] = f"entrepot-login={client.cookies['entrepot-login']}"
    assert client.get(back).status_code == 303
    for again in (client, copy):
        answer = again.get(back)
        assert answer.status_code == 400
    assert len(issuer.forms) == 1


def test_a_replayed_code_is_refused_by_the_issuer(site: Shown, issuer: Issuer) -> None:
    client = site.visitor()
    code = httpx.URL(begin(client)).params["code"]
    assert client.get(begin(client)).status_code == 303
    other = site.visitor()
    back = httpx.URL(begin(other)).copy_merge_params({"code": code})
    answer = other.get(str(back))  # its verifier is of another login
    assert answer.status_code == 401
    assert "invalid_grant" in answer.text
    assert not is_logged_in(other)


@pytest.mark.parametrize(
    "flaw",
    [
        {"nonce": "of another login"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": [CLIENT, "another client"]},
        {"aud": [CLIENT, "another client"], "azp": "another client"},
        {"iss": "https://other.example"},
        {"exp": datetime.now(UTC) - timedelta(hours=1)},
        {"email": "mallory@example.org"},
        {"email": None},
    ],
)
def test_a_token_of_another_login_client_issuer_or_person_is_refused(
    site: Shown, issuer: Issuer, flaw: dict[str, Any]
) -> None:
    issuer.flaw = flaw
    client = site.visitor()
    answer = client.get(begin(client))
    assert answer.status_code == 401
    assert "this login is of no account here" in answer.text
    assert "alice@example.org" not in answer.text
    assert not is_logged_in(client)
    site.api.catalog.events.flush(lambda: datetime.now(UTC))
    event = site.api.catalog.events.latest(action="login", limit=1)[0]
    assert (event.outcome, event.actor, bool(event.reason)) == ("refused", "oidc", True)


def test_trusts_of_ci_systems_are_no_way_to_the_pages(site: Shown, issuer: Issuer) -> None:
    """A trust of another audience names accounts for other clients of the issuer."""
    add_account(site.api.catalog, "builder", "push:team/**")
    add_trust(site.api, issuer.url, "another client", "builder", "builder@example.org")
    issuer.person = {"sub": "2", "email": "builder@example.org"}
    for audience in (CLIENT, "another client"):
        issuer.flaw = {"aud": audience}
        client = site.visitor()
        assert client.get(begin(client)).status_code == 401


def administration_of(api: Api) -> Administration:
    return Administration(
        AccessStore(api.catalog.settings, api.catalog.state),
        api.catalog.events,
        actor="test",
        now=lambda: datetime.now(UTC),
    )


@pytest.mark.parametrize("change", ["removed", "narrowed"])
def test_a_session_ends_with_the_trust_that_it_came_by(site: Shown, change: str) -> None:
    client, by_password = site.visitor(), site.logged_in("alice")
    client.get(begin(client))
    add_trust(site.api, "https://other.example", "other", "alice", "other@example.org")
    assert is_logged_in(client)
    desk = administration_of(site.api)
    trust = AccessStore(site.api.catalog.settings, site.api.catalog.state).policy.trusts[0]
    if change == "removed":
        desk.remove_trust(trust.name)
    else:
        desk.change_trust(trust.model_copy(update={"claims": {"email": "bob@example.org"}}))
    wait_until(lambda: not is_logged_in(client), 10, "the session has ended")
    assert is_logged_in(by_password)


@pytest.mark.parametrize("changes", [{"login_client_id": "another"}, {"login_issuer": "", "login_client_id": ""}])
def test_a_session_ends_with_the_issuer_that_it_came_by(
    site: Shown, issuer: Issuer, tmp_path: Path, changes: dict[str, str]
) -> None:
    client, by_password = site.visitor(), site.logged_in("alice")
    client.get(begin(client))
    login = {"login_issuer": issuer.url, "login_client_id": CLIENT} | changes
    public_url = site.api.url if login["login_issuer"] else ""
    with serve(tmp_path / "entrepot", public_url=public_url, **login) as api:
        client.base_url = by_password.base_url = httpx.URL(api.url)
        assert not is_logged_in(client)
        assert is_logged_in(by_password)


def test_a_disabled_account_is_not_logged_in(site: Shown) -> None:
    desk = administration_of(site.api)
    desk.change_account("alice", disabled=True)
    client = site.visitor()
    assert client.get(begin(client)).status_code == 401


@pytest.mark.parametrize(
    "to", ["https://evil.example/", "//evil.example/", "/\\evil.example", "/login/oidc", "/\n/x", ""]
)
def test_a_login_at_the_issuer_leads_to_no_other_site(site: Shown, to: str) -> None:
    client = site.visitor()
    assert client.get(begin(client, to)).headers["location"] == "/"


@pytest.mark.parametrize("error", ["access_denied", "<script>alert(1)</script>", "x" * 300])
def test_what_the_issuer_refuses_is_told(site: Shown, issuer: Issuer, error: str) -> None:
    issuer.refusal = error
    client = site.visitor()
    answer = client.get(begin(client))
    assert answer.status_code == 401
    assert "the issuer did not log you in" in answer.text
    assert "<script>alert" not in answer.text
    assert ("access_denied" in answer.text) == (error == "access_denied")


def test_an_issuer_that_is_down_is_a_page_with_the_other_way_to_log_in(site: Shown, issuer: Issuer) -> None:
    client = site.visitor()
    back = begin(client)
    issuer.fails = True
    answer = client.get(back)
    assert answer.status_code == 503
    assert "does not answer" in answer.text
    assert 'id="password"' in answer.text


def test_an_issuer_that_never_answered_is_asked_once_in_a_while(site: Shown, issuer: Issuer) -> None:
    issuer.fails = True
    client = site.visitor()
    answers = [client.get("/login/oidc") for _ in range(3)]
    assert [one.status_code for one in answers] == [503] * 3
    assert len(issuer.asked) == 1


def test_another_site_begins_no_login(site: Shown, issuer: Issuer) -> None:
    answer = site.visitor().get("/login/oidc", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'id="password"' in answer.text
    assert issuer.asked == []


def test_logins_of_one_address_are_bounded(site: Shown) -> None:
    client = site.visitor()
    statuses = [client.get("/login/oidc").status_code for _ in range(25)]
    assert statuses[:20] == [303] * 20
    assert 429 in statuses[20:]


def test_a_forged_or_old_cookie_is_no_login_that_was_begun(site: Shown) -> None:
    client = site.visitor()
    back = begin(client)
    sealed = client.cookies["entrepot-login"]
    for text in (
        sealed[:-1] + ("0" if sealed[-1] != "0" else "1"),
        "x",
        ".",
        "",
        f"{sealed}.x",
        sealed.partition(".")[0],
    ):
        other = site.visitor()
        other.headers["Cookie"] = f"entrepot-login={text}"
        assert other.get(back).status_code == 400


def test_by_another_name_the_login_leads_to_the_public_address(site: Shown) -> None:
    """The issuer sends the browser there, and there alone the cookie comes back."""
    page = site.visitor().get("/login", headers={"Host": f"localhost:{site.api.port}"}).text
    assert f'href="{site.api.url}/login/oidc?next=%2F"' in page
    assert 'href="/login/oidc?next=%2F"' in site.visitor().get("/login").text


def test_without_an_issuer_there_is_no_such_way(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot") as api:
        for path in ("/login/oidc", "/login/oidc/callback?code=x&state=y"):
            assert httpx.get(api.url + path, headers=BROWSER, trust_env=False).status_code == 404
        assert "/login/oidc" not in httpx.get(f"{api.url}/login", headers=BROWSER, trust_env=False).text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"login_client_id": ""}, "ENTREPOT_LOGIN_CLIENT_ID"),
        ({"public_url": ""}, "ENTREPOT_PUBLIC_URL"),
        ({"login_issuer": "http://issuer.example"}, "https://"),
        ({"login_issuer": "issuer.example"}, "https://"),
        ({"login_scopes": "email"}, "openid"),
        ({"login_client_secret_file": Path("/nowhere/secret")}, "ENTREPOT_LOGIN_CLIENT_SECRET_FILE"),
    ],
)
def test_settings_that_cannot_work_are_told_at_the_start(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    good = {"login_issuer": "https://issuer.example", "login_client_id": "x", "public_url": "https://registry.example"}
    with pytest.raises(SettingsInvalid, match=told):
        open_code_flow(read_settings(home=tmp_path, **{**good, **changes}), lambda: httpx.AsyncClient())
    assert open_code_flow(read_settings(home=tmp_path, **good), lambda: httpx.AsyncClient()) is not None


def test_the_secret_is_in_no_text_of_the_settings(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path, login_client_secret="hidden secret")
    assert read_client_secret(settings) == "hidden secret"
    assert "hidden secret" not in repr(settings)
