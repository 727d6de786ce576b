"""Questions on an event loop, to a real PostgreSQL that ends sessions and holds answers back."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from catalog.lake.metadata.loop_connection import LoopConnection
from catalog.lake.metadata.position import SnapshotPosition
from catalog.postgres_address import parse_address
from oci.errors import CatalogUnavailable
from tests.postgresql import PostgresServer
from tests.servers import wait_until


class Site:
    """A database with a table of snapshots, and who asks it."""

    def __init__(self, server: PostgresServer) -> None:
        url = server.new_database()
        self.address = parse_address(url, server.password)
        self.own = psycopg.connect(**self.address.parameters(), autocommit=True)  # type: ignore[arg-type]
        self.own.execute("CREATE TABLE public.ducklake_snapshot (snapshot_id bigint)")
        self.own.execute("INSERT INTO public.ducklake_snapshot VALUES (7)")
        self.position = SnapshotPosition()
        self.asked = LoopConnection(self.address, self.position)

    def end_sessions(self) -> None:
        self.own.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    @contextmanager
    def holding_back(self) -> Iterator[None]:
        """Have no question answered meanwhile."""
        with self.own.transaction():
            self.own.execute("LOCK TABLE public.ducklake_snapshot IN ACCESS EXCLUSIVE MODE")
            yield

    def sessions(self) -> int:
        row = self.own.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
        return int(row[0]) if row else 0

    async def until_there_are(self, count: int) -> None:
        await asyncio.to_thread(wait_until, lambda: self.sessions() == count, 10, f"{count} sessions")

    async def until_it_waits(self) -> None:
        sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await asyncio.to_thread(wait_until, lambda: self.own.execute(sql).fetchone() is not None, 10, "it waits")


@pytest.fixture
def site(postgres_server: PostgresServer) -> Iterator[Site]:
    made = Site(postgres_server)
    yield made
    made.asked.close()
    made.own.close()


def test_one_connection_answers_all_questions_with_what_is_newest(site: Site) -> None:
    async def steps() -> None:
        for number in (7, 8, 12):
            site.own.execute("INSERT INTO public.ducklake_snapshot VALUES (%s)", [number])
            await site.asked.confirm()
            assert site.position.value == 2 * number
        assert site.sessions() == 1

    asyncio.run(steps())


@pytest.mark.parametrize("is_asking", [False, True])
def test_where_the_server_ends_the_session_another_one_is_asked(site: Site, *, is_asking: bool) -> None:
    async def steps() -> None:
        await site.asked.confirm()
        site.own.execute("INSERT INTO public.ducklake_snapshot VALUES (9)")
        if is_asking:
            with site.holding_back():
                question = asyncio.create_task(site.asked.confirm())
                await site.until_it_waits()
                site.end_sessions()
            await question
        else:
            site.end_sessions()
            await site.asked.confirm()
        assert site.position.value == 18

    asyncio.run(steps())


def test_a_question_that_is_given_up_takes_its_connection_along(site: Site) -> None:
    async def steps() -> None:
        await site.asked.confirm()
        with site.holding_back():
            question = asyncio.create_task(site.asked.confirm())
            await site.until_it_waits()
            question.cancel()
            with pytest.raises(asyncio.CancelledError):
                await question
        site.own.execute("INSERT INTO public.ducklake_snapshot VALUES (10)")
        await site.asked.confirm()
        assert site.position.value == 20

    asyncio.run(steps())


def test_where_the_server_refuses_a_question_another_connection_asks_it(site: Site) -> None:
    async def steps() -> None:
        await site.asked.confirm()
        site.own.execute("DROP TABLE public.ducklake_snapshot")
        site.own.execute("CREATE TABLE public.ducklake_snapshot (snapshot_id integer)")  # the plan's type has changed
        site.own.execute("INSERT INTO public.ducklake_snapshot VALUES (11)")
        await site.asked.confirm()
        assert site.position.value == 22
        await site.until_there_are(1)

    asyncio.run(steps())


def test_where_the_server_refuses_every_question_the_catalogue_is_not_there_until_it_answers(site: Site) -> None:
    async def steps() -> None:
        await site.asked.confirm()
        site.own.execute("ALTER TABLE public.ducklake_snapshot RENAME TO hidden")
        for _ in range(2):
            with pytest.raises(CatalogUnavailable, match="ducklake_snapshot"):
                await site.asked.confirm()
        await site.until_there_are(0)
        site.own.execute("ALTER TABLE public.hidden RENAME TO ducklake_snapshot")
        site.own.execute("INSERT INTO public.ducklake_snapshot VALUES (13)")
        await site.asked.confirm()
        assert site.position.value == 26

    asyncio.run(steps())
