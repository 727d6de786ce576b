"""Logging in and out by forms: cookies, their end, and forms of other sites."""

import contextlib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest

from catalog.access.administration import Administration
from catalog.access.bearer_tokens import Bearer, PageSession, read_session
from catalog.access.ended_sessions import MOST_OF_ONE, EndedSessions
from catalog.access.policy import Caller, Policy
from catalog.access.store import AccessStore
from oci.errors import TooManyRequests
from registry_api.auth.login_checks import LoginChecks
from registry_api.pages.framework import sessions
from tests.api.conftest import serve, serve_on
from tests.pages.conftest import BROWSER, Shown, form_token_of, log_in
from tests.pages.content import PASSWORD, add_account

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def cookies_of(answer: httpx.Response) -> SimpleCookie:
    found = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        found.load(line)
    return found


def is_logged_in(client: httpx.Client) -> bool:
    return ">Log out</button>" in client.get("/").text


def test_a_login_begins_a_session_and_leads_back(shown: Shown) -> None:
    client = shown.visitor()
    assert not is_logged_in(client)
    answer = log_in(client, "bob", PASSWORD, to="/repositories?q=team")
    assert (answer.status_code, answer.headers["location"]) == (303, "/repositories?q=team")
    assert is_logged_in(client)
    assert "bob" in client.get("/").text


def test_a_login_leads_back_to_a_name_with_any_character(shown: Shown) -> None:
    answer = log_in(shown.visitor(), "bob", PASSWORD, to="/repository/€")
    assert (answer.status_code, answer.headers["location"]) == (303, "/repository/%E2%82%AC")


def test_logins_whose_form_does_not_come_keep_nobody_from_reading(shown: Shown) -> None:
    url = httpx.URL(shown.api.url)
    head = f"POST /login HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nContent-Length: 100\r\n\r\n"
    with contextlib.ExitStack() as opened:
        for _ in range(12):
            connection = opened.enter_context(socket.create_connection((url.host, url.port)))
            connection.sendall(head.encode())
        client = shown.visitor()
        for _ in range(3):
            assert client.get("/repositories", timeout=20).status_code == 200
            assert client.get("/api/v1/repositories", timeout=20).status_code in (200, 401)


def test_a_sessions_cookie_is_out_of_scripts_reach_and_ends(shown: Shown) -> None:
    answer = log_in(shown.visitor(), "bob", PASSWORD)
    cookie = cookies_of(answer)["entrepot-session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "lax", "/", "")
    assert cookie["max-age"] == str(12 * 3600)
    assert cookie["domain"] == ""


def test_each_login_has_a_session_of_its_own(shown: Shown) -> None:
    client = shown.logged_in("bob")
    first = client.cookies["entrepot-session"]
    log_in(client, "bob", PASSWORD)
    assert client.cookies["entrepot-session"] != first
    assert not is_logged_in(shown.with_session(first))


def test_logging_out_ends_the_session_for_copies_too(shown: Shown) -> None:
    client = shown.logged_in("bob")
    copy = shown.with_session(client.cookies["entrepot-session"])
    assert is_logged_in(copy)
    answer = client.post("/logout", data={"form_token": form_token_of(client.get("/").text)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "entrepot-session" not in client.cookies
    assert not is_logged_in(copy)


@pytest.mark.parametrize(("name", "password"), [("bob", "wrong"), ("nobody", PASSWORD), ("", ""), ("bob", "")])
def test_a_wrong_login_begins_nothing(shown: Shown, name: str, password: str) -> None:
    client = shown.visitor()
    answer = log_in(client, name, password)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "entrepot-session" not in cookies_of(answer)


def test_a_form_of_another_visitor_is_refused(shown: Shown) -> None:
    token = form_token_of(shown.visitor().get("/login").text)
    client = shown.visitor()
    client.get("/login")
    for form_token in (token, "", "0" * 64):
        fields = {"username": "bob", "password": PASSWORD, "form_token": form_token}
        answer = client.post("/login", data=fields)
        assert answer.status_code == 403
        assert "entrepot-session" not in cookies_of(answer)


def test_a_form_without_its_cookie_is_refused(shown: Shown) -> None:
    token = form_token_of(shown.visitor().get("/login").text)
    answer = shown.visitor().post("/login", data={"username": "bob", "password": PASSWORD, "form_token": token})
    assert answer.status_code == 403


def test_logging_out_needs_the_sessions_own_token(shown: Shown) -> None:
    client, other = shown.logged_in("bob"), shown.logged_in("bob")
    token = form_token_of(other.get("/").text)
    assert client.post("/logout", data={"form_token": token}).status_code == 403
    assert client.post("/logout").status_code == 403
    assert is_logged_in(client)


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_a_form_that_another_site_sends_is_refused(shown: Shown, headers: dict[str, str]) -> None:
    client = shown.logged_in("bob")
    token = form_token_of(client.get("/").text)
    assert client.post("/logout", data={"form_token": token}, headers=headers).status_code == 403
    assert is_logged_in(client)


@pytest.mark.parametrize(
    "path",
    ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "", "/login", "/\n/x"],
)
def test_a_login_leads_to_no_other_site(shown: Shown, path: str) -> None:
    assert log_in(shown.visitor(), "bob", PASSWORD, to=path).headers["location"] == "/"


def test_a_session_is_no_login_of_the_api(shown: Shown) -> None:
    client = shown.administrator()
    assert client.get("/v2/").status_code == 401
    assert client.get("/api/v1/repositories").json() == []
    bearer = {"Authorization": f"Bearer {client.cookies['entrepot-session']}"}
    for path in ("/v2/", "/api/v1/repositories", "/home.json"):
        assert httpx.get(shown.api.url + path, headers=bearer, trust_env=False).status_code == 401


def test_a_token_of_the_api_is_no_session(shown: Shown) -> None:
    token = shown.api.admin.get("/token", params={"service": "entrepot", "offline_token": "true"}).json()
    for text in (token["token"], token["refresh_token"]):
        assert not is_logged_in(shown.with_session(text))


def test_the_api_logs_in_to_pages_as_before(shown: Shown) -> None:
    page = httpx.get(shown.api.url + "/", headers=BROWSER, auth=("admin", shown.api.password), trust_env=False)
    assert "private/nightjar" in page.text


def test_too_many_wrong_logins_are_told_to_wait(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks are those of all logins, which tests/unit/registry_api/auth/test_login_checks.py tests."""

    async def verify(*_: object) -> None:
        raise TooManyRequests("too many wrong logins", retry_after=7.0)

    monkeypatch.setattr(LoginChecks, "verify", verify)
    answer = log_in(shown.visitor(), "bob", "wrong")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert "too many wrong logins" in answer.text


@pytest.fixture(params=["sqlite", "postgresql"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shown]:
    with serve_on(request.param, request, tmp_path / "entrepot") as api, contextlib.closing(Shown(api, {})) as found:
        add_account(api.catalog, "bob", "pull:team/**")
        yield found


def test_sessions_end_with_logins_accounts_and_by_the_other_engine_too(own: Shown) -> None:
    desk = Administration(
        AccessStore(own.api.catalog.settings, own.api.catalog.state),
        own.api.catalog.events,
        actor="test",
        now=lambda: datetime.now(UTC),
    )
    client = own.visitor()
    log_in(client, "bob", PASSWORD)
    copy = client.cookies["entrepot-session"]
    client.post("/logout", data={"form_token": form_token_of(client.get("/").text)})
    assert not is_logged_in(own.with_session(copy))
    log_in(client, "bob", PASSWORD)
    assert is_logged_in(client)
    desk.change_account("bob", password="another password")
    assert not is_logged_in(client)
    log_in(client, "bob", "another password")
    assert is_logged_in(client)
    desk.change_account("bob", disabled=True)
    assert not is_logged_in(client)


def session(number: int, began: datetime = NOW, account: str = "bob") -> PageSession:
    expires = (began + timedelta(hours=12)).timestamp()
    return PageSession(Bearer(Caller(account), expires, "", "", ""), str(number), began.timestamp())


def test_ended_sessions_are_kept_until_they_would_have_expired() -> None:
    ended = EndedSessions().with_one(session(1), NOW, longest=43200)
    assert ended.has(session(1))
    assert not ended.has(session(2))
    assert not ended.has(session(1, account="ann"))
    later = NOW + timedelta(hours=13)
    assert list(ended.with_one(session(2, later), later, longest=43200).ids["bob"]) == ["2"]


def test_too_many_ended_sessions_of_one_account_end_all_that_began_before() -> None:
    ended = EndedSessions()
    for number in range(MOST_OF_ONE + 1):
        ended = ended.with_one(session(number), NOW + timedelta(minutes=1), longest=43200)
    assert ended.ids["bob"] == {}
    assert ended.has(session(0))
    assert ended.has(session(9999, NOW))
    assert not ended.has(session(9999, NOW + timedelta(minutes=2)))
    assert not ended.has(session(0, account="ann"))


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sessions whose signatures were checked."""
    found = list[str]()

    def read(policy: Policy, text: str, *, now: datetime) -> PageSession:
        found.append(text)
        return read_session(policy, text, now=now)

    monkeypatch.setattr(sessions, "read_session", read)
    return found


def test_cookies_that_anybody_makes_up_are_paid_for_before_they_are_checked(tmp_path: Path, checked: list[str]) -> None:
    with serve(tmp_path / "home", request_rate=0.5) as api, api.client() as client:
        client.headers.update(BROWSER)
        answers = [client.get("/", headers={"cookie": f"entrepot-session=made-up-{number}"}) for number in range(12)]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert len(checked) == sum(answer.status_code == 200 for answer in answers)


def test_a_session_that_was_verified_is_known_again(shown: Shown, checked: list[str]) -> None:
    client = shown.administrator()
    assert [is_logged_in(client) for _ in range(3)] == [True] * 3
    assert len(checked) == 1
