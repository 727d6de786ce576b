"""Several registries over one database share their work: each notification is sent once, each layer fetched once.

They share a home too, so that all see the same content.
"""

import concurrent.futures
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalog.access.store import ensure_administrator
from catalog.settings import read_settings
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, serve, simple_manifest
from tests.conftest import EntrepotFactory
from tests.mirror import mirror
from tests.receivers import Answer, Received, receive
from tests.servers import EntrepotServer, wait_until
from tests.upstream import Upstream

pytestmark = pytest.mark.usefixtures("postgres")
NAME = "team/app"
LAYER = b"layer" * 20_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENTREPOT_INTERNAL_HOSTS", "127.0.0.1")
    settings = read_settings(home=tmp_path / "entrepot")
    ensure_administrator(settings)
    return settings.root


def push(api: Api, number: int) -> None:
    raw = simple_manifest(api, NAME, annotations={"a": str(number)})
    assert api.put_manifest(NAME, "v1", raw).status_code == 201


def subscribe(api: Api, url: str) -> None:
    asked = {"url": f"{url}/events", "events": ["version.created"], "repositories": [NAME]}
    assert api.admin.post("/api/v1/subscriptions", json=asked).status_code == 201


def told(received: list[Received]) -> list[str]:
    return [one.json["id"] for one in received]


def test_two_deliver_each_notification_once(home: Path, entrepot_server: EntrepotFactory) -> None:
    with receive() as receiver, serve(home) as api:
        entrepot_server(home)
        subscribe(api, receiver.url)
        for number in range(1, 9):
            push(api, number)
        receiver.await_count(8)
        push(api, 9)
        receiver.await_count(9)
        assert told(receiver.received) == [f"{NAME}@{number}" for number in range(1, 10)]


def test_who_is_killed_in_mid_delivery_loses_nothing(home: Path, entrepot_server: EntrepotFactory) -> None:
    """Only what was under way is told twice."""
    arrived, answered = threading.Event(), threading.Event()
    slow = [f"{NAME}@3"]

    def answer(one: Received) -> Answer:
        if one.json["id"] in slow:
            slow.clear()
            arrived.set()
            assert answered.wait(60)
        return 200, {}, b""

    with receive(answer) as receiver:
        first = entrepot_server(home)
        with serve(home) as api:  # not elected: the first is
            subscribe(api, receiver.url)
            for number in range(1, 7):
                push(api, number)
            assert arrived.wait(20)
            first.child.kill()
            answered.set()
            wait_until(lambda: f"{NAME}@6" in told(receiver.received), 20, "the other goes on")
            push(api, 7)
            wait_until(lambda: f"{NAME}@7" in told(receiver.received), 20, "and on")
            counts = Counter(told(receiver.received))
            assert set(counts) == {f"{NAME}@{number}" for number in range(1, 8)}
            assert {one for one, count in counts.items() if count > 1} <= {f"{NAME}@3"}


def test_who_loses_the_database_for_a_moment_is_followed_by_one_alone(
    home: Path, entrepot_server: EntrepotFactory, postgres_server: Any
) -> None:
    with receive() as receiver, serve(home) as api:
        entrepot_server(home)
        subscribe(api, receiver.url)
        for number in range(1, 6):
            push(api, number)
            postgres_server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'entrepot'")
        push(api, 6)
        wait_until(lambda: f"{NAME}@6" in told(receiver.received), 30, "all is told")
        time.sleep(2)  # who has lost notices it, and tells no more
        receiver.received.clear()
        for number in range(7, 10):
            push(api, number)
        receiver.await_count(3)
        push(api, 10)
        receiver.await_count(4)
        assert told(receiver.received) == [f"{NAME}@{number}" for number in range(7, 11)]


def test_sixteen_clients_of_three_registries_cost_one_fetch(
    home: Path, entrepot_server: EntrepotFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"file": "one"}]).digest)
    with Upstream({NAME: store}) as upstream:
        layer = next(digest for digest, data in store.blobs.items() if b"file" not in data or len(data) > 200)
        mirror(home, f"{upstream.host}/{NAME}", policy="on_demand")
        upstream.silence(route="blob", seconds=3)
        servers: list[EntrepotServer] = [entrepot_server(home) for _ in range(3)]

        def get(number: int) -> int:
            url = f"{servers[number % 3].url}/v2/{NAME}/blobs/{layer}"
            answer = httpx.get(url, trust_env=False, timeout=30)
            return answer.status_code if Digest.of(answer.content) == layer else 0

        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            assert list(threads.map(get, range(16))) == [200] * 16
        assert sum(1 for seen in upstream.seen if seen.method == "GET" and seen.reference == layer) == 1
