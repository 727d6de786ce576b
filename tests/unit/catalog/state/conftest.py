"""The state of one installation as two of its processes see it, in files and in PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.database.listener import Listener
from catalog.database.postgresql import PostgresDatabase
from catalog.database.session_locks import SessionLocks
from catalog.postgres_address import PostgresAddress, parse_address
from catalog.settings import Settings, read_settings
from catalog.state.shared_state import SharedState, open_state
from tests.postgresql import PostgresServer, use


@pytest.fixture(params=["files", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of one installation."""
    if request.param == "postgresql":
        use(request.getfixturevalue("postgres_server").new_database(), monkeypatch)
    return read_settings(home=tmp_path / "home")


@pytest.fixture
def open_process(settings: Settings) -> Iterator[Callable[[], SharedState | None]]:
    """Opens the state as a further process of the installation does."""
    opened: list[SharedState | None] = []

    def open_one() -> SharedState | None:
        opened.append(open_state(settings))
        return opened[-1]

    yield open_one
    for one in opened:
        if one is not None:
            one.close()


@pytest.fixture
def address(postgres_server: PostgresServer) -> PostgresAddress:
    """A new database."""
    return parse_address(postgres_server.new_database(), PostgresServer.password)


@pytest.fixture
def open_shared(address: PostgresAddress) -> Iterator[Callable[..., SharedState]]:
    """Opens the shared state of a new database with options of its listener."""
    opened: list[SharedState] = []

    def open_one(**options: float) -> SharedState:
        opened.append(SharedState(PostgresDatabase(address), Listener(address, **options), SessionLocks(address)))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
