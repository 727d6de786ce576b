"""Elections: one process of all, in files and in PostgreSQL, and another one when it has gone."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from catalog.settings import Settings
from catalog.state.elections import open_election
from catalog.state.shared_state import SharedState
from oci.errors import CatalogUnavailable
from tests.postgresql import PostgresServer
from tests.servers import wait_until
from tests.unit.catalog.state.test_documents import END_LISTENERS, SOON

Open = Callable[[], SharedState | None]


def test_one_is_elected_until_it_resigns(settings: Settings, open_process: Open) -> None:
    settings.root.mkdir(exist_ok=True)
    one, other = (open_election(settings, open_process(), "events") for _ in range(2))
    apart = open_election(settings, open_process(), "others")
    assert one.try_win()
    assert (one.is_won(), other.try_win(), other.is_won(), apart.try_win()) == (True, False, False, True)
    other.resign()
    assert one.is_won(), "nobody resigns for another"
    one.resign()
    assert other.try_win()
    assert (one.is_won(), other.is_won()) == (False, True)


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_who_loses_the_connection_is_elected_no_more(
    open_shared: Callable[..., SharedState], postgres_server: PostgresServer, settings: Settings
) -> None:
    states = open_shared(), open_shared()
    one, other = (open_election(settings, state, "events") for state in states)
    assert one.try_win()
    assert not other.try_win()
    postgres_server.execute(END_LISTENERS.format(states[0].database.address.database))
    assert not one.is_won()
    assert other.try_win()
    assert not one.try_win()
    states[1].close()
    wait_until(one.try_win, SOON, "the other has gone")


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_nobody_is_elected_while_the_database_is_away(
    open_shared: Callable[..., SharedState], postgres_server: PostgresServer, settings: Settings
) -> None:
    state = open_shared()
    one = open_election(settings, state, "events")
    assert one.try_win()
    name = state.database.address.database
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres_server.execute(END_LISTENERS.format(name))
    assert not one.is_won()
    for _ in range(2):
        with pytest.raises(CatalogUnavailable):
            one.try_win()
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    def wins() -> bool:
        with suppress(CatalogUnavailable):  # a database that did not answer is not asked again for a second
            return one.try_win()
        return False

    wait_until(wins, 10, "it is elected again")
