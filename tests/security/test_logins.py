"""Logins over a running registry: odd names are recorded, and floods of wrong ones are bounded."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from catalog.access.administration import Administration
from catalog.access.logins import Login, Logins
from catalog.access.store import AccessStore
from tests.api.conftest import Api, serve

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serve(tmp_path_factory.mktemp("logins") / "entrepot") as api:
        now = lambda: datetime.now(UTC)  # noqa: E731
        desk = Administration(
            AccessStore(api.catalog.settings, api.catalog.state), api.catalog.events, actor="test", now=now
        )
        for name in ("alice", "bob"):
            desk.add_account(name, password=PASSWORD)
        yield api


def status(api: Api, name: str, secret: str) -> int:
    with api.client((name, secret)) as client:
        return client.get("/v2/").status_code


def test_refusals_are_recorded_whatever_the_name(site: Api) -> None:
    for name in ("a\0b", "line\nforged", "after"):
        assert status(site, name, "wrong password") == 401
    site.catalog.events.flush(lambda: datetime.now(UTC))
    assert not site.catalog.events.waits
    found = {one.actor for one in site.catalog.events.latest(action="login")}
    assert {"a\\x00b", "line\\x0aforged", "after"} <= found


def test_a_flood_of_wrong_logins_is_bounded_and_keeps_nobody_waiting(
    site: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in hashes: the right login of another account comes before what is left of the flood."""
    hashed: list[str] = []
    verify = Logins.verify

    def counted(self: Logins, username: str, password: str) -> Login | None:
        hashed.append(username)
        return verify(self, username, password)

    monkeypatch.setattr(Logins, "verify", counted)
    with ThreadPoolExecutor(65) as pool:
        flood = [pool.submit(status, site, "alice", f"wrong {number}") for number in range(64)]
        right = pool.submit(status, site, "bob", PASSWORD)
        assert right.result() == 200
        answers = [one.result() for one in flood]
    assert set(answers) <= {401, 429}
    assert hashed.count("alice") == answers.count(401) <= 25
    with site.client() as client:
        told = client.post("/token", data={"grant_type": "password", "username": "bob", "password": PASSWORD})
        assert told.status_code == 200
    assert hashed.count("bob") == 1  # known by then
