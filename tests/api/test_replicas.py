"""Two registries with a home each and one database: who may do what holds for both."""

import base64
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.access.administration import Administration
from catalog.access.login_attempts import LoginAttempts, Payment, Price
from catalog.access.policy import Grant
from catalog.access.store import AccessStore, ensure_administrator, password_file
from catalog.remotes.budget_stores import open_budget
from catalog.settings import read_settings
from registry_api.auth import login_checks
from registry_api.auth.rate_limits import BucketSize
from tests.api.conftest import Api, serve
from tests.cli.commands import Entrepot
from tests.postgresql import PostgresServer
from tests.replicas.pushes import push_small_image
from tests.servers import Children, wait_until
from tests.unit.catalog.state.test_documents import END_LISTENERS, SOON

PUSH = Grant(actions=("pull", "push"), patterns=("team/**",))


@pytest.fixture
def replicas(tmp_path: Path, postgres: str) -> Iterator[tuple[Api, Api]]:
    """Two registries; the first has made the administrator."""
    with ExitStack() as stack:
        first = stack.enter_context(serve(tmp_path / "a"))
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "admin-password").write_text(first.password)
        yield first, stack.enter_context(serve(tmp_path / "b"))


def desk(api: Api) -> Administration:
    store = AccessStore(api.catalog.settings, api.catalog.state)
    return Administration(store, api.catalog.events, actor="test", now=lambda: datetime.now(UTC))


def basic(name: str, secret: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"


def bearer(api: Api, login: str) -> str:
    query = {"service": "entrepot", "scope": "repository:team/app:pull,push"}
    answer = api.anybody.get("/token", params=query, headers={"authorization": login})
    return f"Bearer {answer.raise_for_status().json()['token']}"


def push(api: Api, authorization: str) -> int:
    """Return the status of a push to team/app."""
    return api.anybody.post("/v2/team/app/blobs/uploads/", headers={"authorization": authorization}).status_code


def pull(api: Api, authorization: str) -> int:
    """Return the status of a pull from team/app."""
    return api.anybody.get("/v2/team/app/manifests/v1", headers={"authorization": authorization}).status_code


def test_a_token_of_one_is_good_at_the_other_until_its_key_is_retired(replicas: tuple[Api, Api]) -> None:
    one, other = replicas
    mine = bearer(one, one.authorization)
    assert (push(one, mine), push(other, mine)) == (202, 202)
    assert push(one, bearer(other, other.authorization)) == 202
    desk(one).rotate_key(retire=True)
    wait_until(lambda: push(other, mine) == 401, SOON, "its key is retired there too")
    assert push(other, bearer(one, one.authorization)) == 202


def test_what_is_revoked_at_one_stops_at_the_other_within_a_second(replicas: tuple[Api, Api]) -> None:
    one, other = replicas
    at_one = desk(one)
    password = secrets.token_urlsafe(12)
    at_one.add_account("ada", password=password)
    at_one.add_account("ci", password=None)
    rule = at_one.add_rule(["user:ada", "robot:ci"], PUSH)
    robot = at_one.add_token("ci")
    logins = basic("ada", password), basic("ci", robot.secret)
    tokens = [bearer(other, login) for login in logins]
    for authorization in (*logins, *tokens):
        wait_until(lambda: push(other, authorization) == 202, SOON, "known there too")  # noqa: B023  # waited for at once

    at_one.revoke_token(robot.token.id)
    wait_until(lambda: push(other, logins[1]) == 401, SOON, "a token")
    assert push(other, tokens[1]) == 401
    at_one.change_account("ada", disabled=True)
    wait_until(lambda: push(other, logins[0]) == 401, SOON, "a login")
    assert push(other, tokens[0]) == 401
    at_one.change_account("ada", disabled=False)
    wait_until(lambda: push(other, logins[0]) == 202, SOON, "a login again")
    at_one.remove_rule(rule.id)
    wait_until(lambda: push(other, logins[0]) == 403, SOON, "a rule")


def test_a_change_is_seen_after_the_server_has_ended_all_connections(
    replicas: tuple[Api, Api], postgres_server: PostgresServer
) -> None:
    one, other = replicas
    at_one = desk(one)
    at_one.add_account("ada", password="long enough")
    at_one.add_rule(["user:ada"], PUSH)
    login = basic("ada", "long enough")
    wait_until(lambda: push(other, login) == 202, SOON, "known there")
    postgres_server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'entrepot'")
    at_one.remove_account("ada")
    wait_until(lambda: push(other, login) == 401, SOON, "removed there")


@pytest.mark.usefixtures("postgres")
def test_first_starts_at_once_make_one_administrator(tmp_path: Path) -> None:
    homes = [read_settings(home=tmp_path / name) for name in ("a", "b", "c")]
    with ThreadPoolExecutor(len(homes)) as pool:
        passwords = list(pool.map(ensure_administrator, homes))
    (password,) = filter(None, passwords)
    (file,) = [password_file(home) for home in homes if password_file(home).exists()]
    assert file.read_text() == f"{password}\n"
    assert passwords.index(password) == [password_file(home) for home in homes].index(file)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "admin-password").write_text(password)
    with serve(tmp_path / "d") as later:
        assert later.admin.get("/api/v1/users").status_code == 200


def test_wrong_passwords_at_one_count_at_the_other(replicas: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_checks, "PAIR", BucketSize(5, 0.05))
    one, other = replicas
    assert bearer(one, basic("admin", one.password))

    def statuses(api: Api, count: int) -> list[int]:
        logins = (basic("admin", secrets.token_urlsafe()) for _ in range(count))
        return [push(api, login) for login in logins]

    assert statuses(one, 3) == [401, 401, 401]
    assert statuses(other, 4) == [401, 401, 429, 429]
    assert statuses(one, 1) == [429]
    refused = other.anybody.get("/v2/", headers={"authorization": basic("admin", "another one")})
    assert int(refused.headers["retry-after"]) > 1
    assert push(one, basic("admin", one.password)) == 202, "it is known there without a hash"


def test_a_right_login_costs_nothing_and_makes_its_address_known(replicas: tuple[Api, Api]) -> None:
    state = replicas[0].catalog.state
    assert state is not None
    attempts = LoginAttempts(state)
    pair, others = Price("pair a", 3, 0.001), (Price("address a", 1, 0.001), Price("account a", 2, 0.001))
    for _ in range(5):
        payment = attempts.pay(pair, others)
        assert (len(payment.prices), payment.wait) == (3, 0.0)
        attempts.succeed(Price("pair b", 3, 0.001), payment)
    assert attempts.pay(pair, others).wait == 0.0
    assert 900 < attempts.pay(pair, others).wait <= 1000, "the address has none left"
    attempts.succeed(pair, Payment(()))
    assert [attempts.pay(pair, others).prices for _ in range(2)] == [[pair], [pair]]
    assert attempts.pay(pair, others).wait > 900


def test_what_counts_wrong_logins_names_nobody(replicas: tuple[Api, Api], postgres_server: PostgresServer) -> None:
    one, _ = replicas
    assert push(one, basic("admin", "wrong")) == 401
    state = one.catalog.state
    assert state is not None
    rows = postgres_server.execute("SELECT key FROM entrepot.login_attempts", state.database.address.database)
    assert len(rows) == 3
    assert not any(name in str(rows) for name in ("admin", "127.0.0.1"))


def test_without_the_database_logins_hold_for_some_seconds_and_are_then_refused(
    replicas: tuple[Api, Api], postgres_server: PostgresServer
) -> None:
    one, _ = replicas
    state = one.catalog.state
    assert state is not None
    state.listener._trusted_for = 3.0
    mine = bearer(one, one.authorization)
    push_small_image(one.admin, "team/app", "v1", "before")
    assert pull(one, mine) == 200
    name = state.database.address.database
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres_server.execute(END_LISTENERS.format(name))
    assert pull(one, mine) == 200
    wait_until(lambda: pull(one, mine) == 503, 10, "who has access is not known any more")
    assert one.anybody.get("/healthz").status_code == 200
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    wait_until(lambda: push(one, mine) == 202, 5, "it is known again")


def test_commands_on_a_third_machine_change_what_both_serve(
    replicas: tuple[Api, Api], tmp_path: Path, children: Children
) -> None:
    entrepot = Entrepot(tmp_path / "c", children)
    made = entrepot("user", "add", "ci", "--robot")
    assert (made.returncode, made.stderr.count("admin-password")) == (0, 0), made.stderr
    assert entrepot("access", "allow", "robot:ci", "pull,push", "team/**").returncode == 0
    secret = entrepot.json("token", "add", "ci")["secret"]
    for api in replicas:
        wait_until(lambda: push(api, basic("ci", secret)) == 202, SOON, "it is known")  # noqa: B023  # waited for at once
    assert {one["name"] for one in entrepot.json("user", "list")} == {"admin", "ci"}
    hook = entrepot.json("hook", "create", "up", "registry.example")
    wait_until(lambda: [one["name"] for one in replicas[0].admin.get("/api/v1/hooks").json()] == ["up"], SOON, "a hook")
    sent = replicas[1].anybody.post(
        "/api/v1/hooks/up",
        json={"events": []},
        headers={"authorization": f"Bearer {hook['secret']}"},
    )
    assert sent.status_code in (202, 400), sent.text
    one = replicas[0].catalog
    open_budget(one.settings.root, "registry.example", one.state).change(lambda budget: replace(budget, limit=7))
    assert entrepot.json("remote", "show", "registry.example")["budget"]["limit"] == 7
