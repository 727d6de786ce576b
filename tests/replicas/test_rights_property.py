"""The same histories of two tenants and one who attacks them, where each request reaches another replica.

`TEST_HISTORIES` sets how many there are.
"""

import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
import pytest
from hypothesis import given

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from oci.digest import Digest
from tests.api.conftest import Api
from tests.homes import new_home
from tests.postgresql import PostgresServer
from tests.replicas.conftest import starter
from tests.security.histories import LOGIN, PASSWORD, SETTINGS, TENANTS, History, World, few, histories, play, settle_in
from tests.servers import Children, start_s3, wait_until
from tests.upstream import Upstream

HISTORIES = int(os.environ.get("TEST_HISTORIES", "1"))


class AnyReplica(httpx.BaseTransport):
    """Sends each request to a replica drawn at random."""

    def __init__(self, ports: Sequence[int], chance: random.Random) -> None:
        self._ports, self._chance, self._transport = ports, chance, httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        port = self._chance.choice(self._ports)
        request.url = request.url.copy_with(port=port)
        return self._transport.handle_request(request)

    def close(self) -> None:
        self._transport.close()


@dataclass
class SpreadApi(Api):
    """Replicas as one registry; `catalog` is that of a worker. Blobs are pushed by sessions, whose requests reach several."""

    ports: Sequence[int] = ()
    chance: random.Random = field(default_factory=lambda: random.Random(11))

    def client(self, auth: tuple[str, str] | None = None) -> httpx.Client:
        transport = AnyReplica(self.ports, self.chance)
        return httpx.Client(base_url=self.url, auth=auth, transport=transport, timeout=30)

    def push_blob(self, name: str, data: bytes, algorithm: str = "sha256") -> Digest:
        digest, middle = Digest.of(data, algorithm), len(data) // 2
        location = self.open_upload(name)
        assert self.admin.patch(location, content=data[:middle]).status_code == 202
        answer = self.admin.put(location, params={"digest": digest}, content=data[middle:])
        assert answer.status_code == 201, answer.text
        return digest


@pytest.fixture(scope="module")
def world(
    module_children: Children, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder, store, database = (
        tmp_path_factory.mktemp("histories"),
        start_s3(module_children),
        postgres_server.new_database(),
    )
    with Upstream({}) as upstream, Upstream({}) as evil, pytest.MonkeyPatch.context() as patch:
        upstream.login = LOGIN
        own = {
            **SETTINGS,
            "logins": {upstream.host: ":".join(LOGIN)},
            "internal_hosts": "127.0.0.1",
            "storage_redirect": False,
        }
        start = starter(module_children, database, store, folder)
        servers = [start(**{f"ENTREPOT_{name.upper()}": _text(value) for name, value in own.items()}) for _ in range(3)]
        for name, value in store.env.items():
            patch.setenv(name, value)
        settings = read_settings(
            home=new_home(folder / "worker"), catalog=database, catalog_password=PostgresServer.password, **own
        )
        with open_catalog(settings) as catalog:
            ports = [server.port for server in servers]
            api = SpreadApi(catalog, ports[0], servers[0].password, ports=ports)
            world = settle_in(World(api, upstream, evil))
            wait_until(lambda: all(knows(port) for port in ports), 10, "all replicas know the accounts")
            yield world
            api.close()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ",".join(value) if isinstance(value, list) else json.dumps(value)


def knows(port: int) -> bool:
    """Return whether a replica knows all accounts."""
    answers = [
        httpx.get(f"http://127.0.0.1:{port}/v2/", auth=(name, PASSWORD), trust_env=False)
        for name in (*TENANTS, "mallory")
    ]
    return {answer.status_code for answer in answers} == {200}


@pytest.mark.timeout(3600)
@few(HISTORIES)
@given(histories)
def test_no_history_over_three_replicas_gives_one_what_only_another_has(
    world: World, acts: list[tuple[object, ...]]
) -> None:
    play(History(world), acts)
