"""Registries that share a database and a store: replicas behind any load balancer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.homes import new_home
from tests.postgresql import PostgresServer, environment, make_postgres
from tests.servers import Children, EntrepotServer, S3Server, start_entrepot, start_s3

Replica = Callable[..., EntrepotServer]


@pytest.fixture
def database_server(children: Children) -> PostgresServer:
    """A PostgreSQL server of this test's own, to be stopped and killed."""
    return make_postgres(children, durable=True)


@pytest.fixture
def store(children: Children) -> S3Server:
    """The S3 server that all replicas keep their blobs in."""
    return start_s3(children)


@pytest.fixture
def replica(children: Children, database_server: PostgresServer, store: S3Server, tmp_path: Path) -> Replica:
    """Starts replicas over one database and one S3 server, each with a home of its own; options are more of the environment."""
    return starter(children, database_server.new_database(), store, tmp_path)


def starter(children: Children, database: str, store: S3Server, folder: Path) -> Replica:
    """Return what starts replicas over a database and a store, each with a home in a folder."""
    shared = {**environment(database), **store.env}

    passwords: list[str] = []

    def start(**options: str) -> EntrepotServer:
        home = new_home(folder / f"replica-{len(children.all)}")
        server = start_entrepot(children, home, env={**shared, **options})
        if not passwords:
            passwords.append(server.password)  # the first start of all makes the administrator
        (home / "admin-password").write_text(passwords[0])
        return server

    return start


@dataclass(frozen=True)
class Trio:
    """Three replicas that the tests of one module share, and their store; nobody stops them."""

    servers: Sequence[EntrepotServer]
    store: S3Server


@pytest.fixture(scope="module")
def trio(module_children: Children, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Trio:
    """Three replicas that the tests of one module share."""
    store = start_s3(module_children)
    start = starter(module_children, postgres_server.new_database(), store, tmp_path_factory.mktemp("replicas"))
    return Trio([start() for _ in range(3)], store)


@pytest.fixture
def client() -> Iterator[Callable[[EntrepotServer], httpx.Client]]:
    """Opens clients of the administrator."""
    opened: list[httpx.Client] = []

    def connect(server: EntrepotServer) -> httpx.Client:
        opened.append(httpx.Client(base_url=server.url, auth=server.auth, trust_env=False, timeout=30))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()
