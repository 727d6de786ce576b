"""What each request knows of memory: by its own question, whatever became of those of others."""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from catalog.serving import Serving
from oci.errors import CatalogUnavailable, CatalogUnusable
from registry_api.freshness import RECENT, Confirmation, Freshness
from registry_api.http.threads import Threads


class Database:
    """What others have committed, and what memory has read of it."""

    is_shared = True

    def __init__(self) -> None:
        self.now, self.committed, self.heard, self.read = 1000.0, 1, 1, 1
        self.is_away = self.is_unreadable = False
        self.looked_at = self.now
        self.asked = self.looks = 0
        self.is_cut_off = False

    async def confirm_on_loop(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise CatalogUnavailable("away")
        self.heard = self.committed

    def is_current(self) -> bool:
        return self.heard == self.read

    def learn(self) -> None:
        if self.is_unreadable:
            raise CatalogUnusable("its rows are in a bucket that is away")
        self.read = self.heard

    def look(self) -> None:
        self.looks += 1
        self.looked_at = self.now

    def set_cut_off(self, is_cut_off: bool) -> None:
        self.is_cut_off = is_cut_off


def run(database: Database, steps: "Coroutine[Any, Any, None]", threads: Threads) -> None:
    asyncio.run(steps)
    threads.close()


def start(database: Database, *, staleness: float = 0.0) -> tuple[Freshness, Threads]:
    threads = Threads()
    return Freshness(cast("Serving", database), threads, lambda: database.now, staleness=staleness), threads


def test_requests_that_come_together_share_a_question_and_its_answer() -> None:
    database = Database()
    freshness, threads = start(database)

    async def steps() -> None:
        found = await asyncio.gather(*(freshness.confirm() for _ in range(50)))
        assert (set(found), database.asked) == ({Confirmation.OWN}, 1)

    run(database, steps(), threads)


def test_a_request_that_goes_away_leaves_the_others_their_answer() -> None:
    database = Database()
    freshness, threads = start(database)

    async def steps() -> None:
        gone, *others = [asyncio.create_task(freshness.confirm()) for _ in range(3)]
        await asyncio.sleep(0)
        gone.cancel()
        assert await asyncio.gather(*others) == [Confirmation.OWN] * 2
        assert await freshness.confirm() is Confirmation.OWN

    run(database, steps(), threads)


def test_a_question_that_breaks_tells_all_that_wait_and_the_next_one_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database()
    freshness, threads = start(database)

    async def breaks() -> None:
        raise ZeroDivisionError

    async def steps() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(database, "confirm_on_loop", breaks)
            found = await asyncio.gather(*(freshness.confirm() for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [ZeroDivisionError] * 3
        assert await freshness.confirm() is Confirmation.OWN

    run(database, steps(), threads)


def test_nothing_is_confirmed_before_the_first_question() -> None:
    database = Database()
    freshness, threads = start(database, staleness=60.0)

    async def steps() -> None:
        assert [await freshness.confirm() for _ in range(2)] == [Confirmation.OWN, Confirmation.RECENT]
        assert database.asked == 1

    run(database, steps(), threads)


def test_a_confirmed_request_stays_so_though_the_next_question_fails() -> None:
    database = Database()
    freshness, threads = start(database)

    async def steps() -> None:
        first = await freshness.confirm()
        database.is_away = True
        assert (first, await freshness.confirm()) == (Confirmation.OWN, Confirmation.MISSING)
        assert database.is_cut_off
        database.is_away = False
        database.now += 1
        assert await freshness.confirm() is Confirmation.OWN
        assert not database.is_cut_off

    run(database, steps(), threads)


def test_what_is_known_to_be_outdated_is_not_served() -> None:
    """Who may pull may have changed: the database answers that others have committed, and nobody can read what."""
    database = Database()
    freshness, threads = start(database)

    async def steps() -> None:
        database.committed, database.is_unreadable = 2, True
        for _ in range(2):  # the second is told without a question
            with pytest.raises(CatalogUnavailable, match="cannot be read"):
                await freshness.confirm()
        assert (database.asked, database.is_cut_off, freshness.is_recent()) == (1, False, False)
        database.is_unreadable = False
        database.now += 1
        assert await freshness.confirm() is Confirmation.OWN

    run(database, steps(), threads)


def test_without_the_database_memory_is_trusted_for_some_time_alone() -> None:
    database = Database()
    freshness, threads = start(database)

    async def steps() -> None:
        database.is_away = True
        database.now += 899
        assert await freshness.confirm() is Confirmation.MISSING
        database.now += 2
        with pytest.raises(CatalogUnavailable, match="900 seconds"):
            await freshness.confirm()

    run(database, steps(), threads)


def test_by_digest_memory_is_current_while_somebody_looks() -> None:
    database = Database()
    freshness, threads = start(database)

    async def steps() -> None:
        for _ in range(5):
            database.now += 1
            database.looked_at = database.now
        assert freshness.is_recent()
        database.now += RECENT
        assert not freshness.is_recent(), "the listener is late"
        assert await freshness.confirm() is Confirmation.OWN
        assert (freshness.is_recent(), database.looks) == (True, 0)
        database.now += RECENT + 0.1
        await freshness.confirm()
        assert database.looks == 1, "accounts and rules are asked for in the listener's place"
        database.heard = 2
        assert not freshness.is_recent()

    run(database, steps(), threads)


def test_staleness_is_no_confirmation_of_ones_own() -> None:
    database = Database()
    freshness, threads = start(database, staleness=2.0)

    async def steps() -> None:
        assert await freshness.confirm(own=True) is Confirmation.OWN
        assert await freshness.confirm() is Confirmation.RECENT
        database.now += 2
        assert await freshness.confirm() is Confirmation.OWN
        assert database.asked == 2

    run(database, steps(), threads)
