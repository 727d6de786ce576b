"""Wrong logins: how many hashes they cost, counted; and that right ones are not kept waiting by them."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.access.logins import Login, Logins
from catalog.access.policy import Account
from catalog.access.store import AccessStore, ensure_administrator, hash_password
from catalog.settings import read_settings
from oci.errors import TooManyRequests
from registry_api.auth.login_checks import LoginChecks, address_key
from registry_api.http.threads import Threads

PASSWORD = "correct horse"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Site:
    """Checks whose hashes are counted, and held until they are let go."""

    def __init__(self, home: Path) -> None:
        settings = read_settings(home=home)
        ensure_administrator(settings)
        self.access = AccessStore(settings)
        hashed = hash_password(PASSWORD)
        made = {name: Account(name=name, password=hashed, stamp="s", created_at=NOW) for name in ("alice", "bob")}
        self.access.update(lambda policy: policy.model_copy(update={"accounts": {**policy.accounts, **made}}))
        self.clock, self.hashed, self.gate = 0.0, list[str](), threading.Event()
        self.gate.set()
        self.threads = Threads()
        logins = Logins(self.access, lambda: NOW)
        verify = logins.verify

        def counted(username: str, secret: str) -> Login | None:
            self.hashed.append(username)
            assert self.gate.wait(30)
            return verify(username, secret)

        logins.verify = counted  # type: ignore[assignment, method-assign]
        self.checks = LoginChecks(logins, self.threads, clock=lambda: self.clock)

    def log_in(self, name: str, secret: str, address: str = "192.0.2.1") -> "asyncio.Task[Login | None]":
        return asyncio.ensure_future(self.checks.verify(self.access.policy, name, secret, address))

    def run(self, scenario: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            await scenario()

        try:
            asyncio.run(whole())
        finally:
            self.gate.set()
            self.threads.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "entrepot")


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def test_a_flood_costs_no_more_than_its_budget_and_others_are_served(site: Site) -> None:
    async def scenario() -> None:
        site.gate.clear()
        flood = [site.log_in("alice", f"wrong {number}") for number in range(64)]
        await settle()
        others = [site.log_in("bob", PASSWORD), site.log_in("alice", PASSWORD, "198.51.100.7")]
        await settle()
        site.gate.set()
        answers = await asyncio.gather(*flood, return_exceptions=True)
        assert [one is not None and not isinstance(one, BaseException) for one in await asyncio.gather(*others)] == [
            True, True
        ]  # fmt: skip
        refused = [one for one in answers if isinstance(one, TooManyRequests)]
        assert len(site.hashed) <= 12
        assert len(refused) >= 52
        assert answers.count(None) + len(refused) == 64
        assert all(one.retry_after is not None for one in refused)
        assert "bob" in site.hashed[:5]

    site.run(scenario)


def test_a_budget_comes_back_with_time_and_right_logins_cost_nothing(site: Site) -> None:
    async def scenario() -> None:
        for number in range(20):
            assert await site.log_in("alice", f"wrong {number}") is None
        with pytest.raises(TooManyRequests):
            await site.log_in("alice", PASSWORD)
        assert len(site.hashed) == 20
        site.clock += 1.0
        for _ in range(5):
            assert await site.log_in("alice", PASSWORD) is not None
        assert len(site.hashed) == 21

    site.run(scenario)


def test_the_same_wrong_login_is_hashed_once(site: Site) -> None:
    async def scenario() -> None:
        together = await asyncio.gather(*(site.log_in("alice", "wrong") for _ in range(50)))
        assert together == [None] * 50
        for _ in range(50):
            assert await site.log_in("alice", "wrong") is None
        assert len(site.hashed) == 1
        site.access.update(lambda policy: policy.model_copy(update={"groups": {"g": ()}}))
        assert await site.log_in("alice", "wrong") is None
        assert len(site.hashed) == 2
        site.clock += 61.0
        assert await site.log_in("alice", "wrong") is None
        assert len(site.hashed) == 3

    site.run(scenario)


def test_many_addresses_do_not_shut_out_who_was_there_before(site: Site) -> None:
    async def scenario() -> None:
        assert await site.log_in("alice", PASSWORD, "203.0.113.1") is not None
        tried = 0
        for number in range(200):
            try:
                await site.log_in("alice", f"wrong {number}", f"10.0.{number}.1")
                tried += 1
            except TooManyRequests:
                pass
        assert tried == 100
        with pytest.raises(TooManyRequests):
            await site.log_in("alice", "another", "198.51.100.9")
        assert await site.log_in("alice", "mistyped", "203.0.113.1") is None  # asked, and not refused

    site.run(scenario)


def test_names_that_are_nobodys_are_one_to_an_address(site: Site) -> None:
    async def scenario() -> None:
        answers = [site.log_in(f"ghost{number}", "wrong") for number in range(200)]
        done = await asyncio.gather(*answers, return_exceptions=True)
        assert len(site.hashed) <= 20
        assert sum(isinstance(one, TooManyRequests) for one in done) >= 180
        before = len(site.hashed)
        assert await site.log_in("alice", "ent_0123_wrongtoken") is None
        assert len(site.hashed) == before  # tokens take no hash

    site.run(scenario)


def test_a_client_that_goes_away_spoils_no_other(site: Site) -> None:
    async def scenario() -> None:
        site.gate.clear()
        first, second = site.log_in("alice", PASSWORD), site.log_in("alice", PASSWORD)
        await settle()
        first.cancel()
        await settle()
        site.gate.set()
        assert await second is not None

    site.run(scenario)


def test_what_is_one_address() -> None:
    assert address_key("192.0.2.1") == "192.0.2.1"
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff:1") != address_key("2001:db8:0:1::1")
    assert address_key("") == ""
