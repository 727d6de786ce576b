"""The event stream of pages: who is told of what, how it ends, and that it holds nobody up."""

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from catalog.access.administration import Administration
from catalog.access.store import AccessStore
from oci.memory import MemoryStore
from registry_api.pages import live
from registry_api.pages.framework import live_feed
from tests.api.conftest import serve
from tests.cli.commands import PrefectServer
from tests.pages.conftest import Shown, form_token_of
from tests.pages.content import Filler, add_account, make_image
from tests.servers import wait_until


@dataclass
class Stream:
    """An event stream that a thread reads: its events, `` for a heartbeat, and None once it has ended."""

    client: httpx.Client
    events: "queue.Queue[str | None]" = field(default_factory=queue.Queue)
    status: int = 0
    is_whole: bool = False
    """Whether the server has ended it, and not cut it off."""

    def __post_init__(self) -> None:
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        assert self._began.wait(20)

    def _read(self) -> None:
        try:
            with self.client.stream("GET", "/live", timeout=60) as answer:
                self.status, self.headers = answer.status_code, answer.headers
                for line in answer.iter_lines():
                    if line.startswith("retry:"):
                        self._began.set()
                    if line.startswith(("event:", ":")):
                        self.events.put(line.removeprefix("event: ").strip(": "))
                self.is_whole = True
        except httpx.HTTPError:
            pass
        self._began.set()
        self.events.put(None)

    def next(self, seconds: float = 20) -> str | None:
        """The next event that is no heartbeat."""
        until = time.monotonic() + seconds
        while True:
            event = self.events.get(timeout=max(0.1, until - time.monotonic()))
            if event != "":
                return event

    def seen(self, heartbeats: int) -> list[str | None]:
        """The events until so many heartbeats in a row have come."""
        found: list[str | None] = []
        quiet = 0
        while quiet < heartbeats:
            event = self.events.get(timeout=20)
            quiet = quiet + 1 if event == "" else 0
            found += [event] if event != "" else []
        return found

    def close(self) -> None:
        self.client.close()
        self._thread.join(20)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks and checks that follow each other quickly."""
    monkeypatch.setattr(live, "_CHECK_EVERY", 0.2)
    monkeypatch.setattr(live, "_GAP", 0.05)
    monkeypatch.setattr(live_feed.LiveFeed.__init__, "__kwdefaults__", {"every": 0.05})


@pytest.fixture
def site(tmp_path: Path, quick: None) -> Iterator[Shown]:
    with serve(tmp_path / "entrepot") as api, contextlib.closing(Shown(api, {})) as found:
        filler, store = Filler(api.catalog, datetime.now(UTC)), MemoryStore()
        filler.commit("team/app", store, {"v1": make_image(store, "first")}, private=True)
        filler.commit("public/app", store, {"v1": make_image(store, "public")})
        add_account(api.catalog, "bob", "pull:team/**")
        yield found


def push(site: Shown, name: str, *, private: bool = True) -> None:
    store = MemoryStore()
    image = make_image(store, f"{name} {time.monotonic_ns()}")
    Filler(site.api.catalog, datetime.now(UTC)).commit(name, store, {f"t{time.monotonic_ns()}": image}, private=private)


def open_streams(site: Shown, *clients: httpx.Client) -> list[Stream]:
    """Streams that have looked once, so that they tell of what comes now."""
    streams = [Stream(client) for client in clients]
    for stream in streams:
        assert stream.status == 200
        stream.seen(3)
    return streams


def test_a_stream_tells_of_what_its_viewer_may_see_and_of_nothing_else(site: Shown) -> None:
    nobody, bob, admin = open_streams(site, site.visitor(), site.logged_in("bob"), site.administrator())
    try:
        assert nobody.headers["content-type"].startswith("text/event-stream")
        assert nobody.headers["cache-control"] == "no-store"
        push(site, "team/app")
        assert bob.next() == admin.next() == "versions"
        push(site, "secret/app")
        assert admin.next() == "versions"
        assert (nobody.seen(4), bob.seen(4)) == ([], [])
        push(site, "public/app")
        assert nobody.next() == admin.next() == bob.next() == "versions"
    finally:
        for stream in (nobody, bob, admin):
            stream.close()


def test_rights_are_those_of_the_moment(site: Shown) -> None:
    desk = Administration(
        AccessStore(site.api.catalog.settings, site.api.catalog.state),
        site.api.catalog.events,
        actor="test",
        now=lambda: datetime.now(UTC),
    )
    (bob,) = open_streams(site, site.logged_in("bob"))
    try:
        rule = next(one for one in site.api.admin.get("/api/v1/rules").json() if "user:bob" in one["subjects"])
        desk.remove_rule(rule["id"])
        push(site, "team/app")
        assert bob.seen(4) == []
    finally:
        bob.close()


def test_a_stream_ends_with_its_session(site: Shown) -> None:
    client = site.logged_in("bob")
    copy = site.with_session(client.cookies["entrepot-session"])
    (stream,) = open_streams(site, copy)
    client.post("/logout", data={"form_token": form_token_of(client.get("/").text)})
    assert stream.next() == "end"
    assert stream.next() is None
    stream.close()


def test_a_stream_ends_with_its_account(site: Shown) -> None:
    (stream,) = open_streams(site, site.logged_in("bob"))
    desk = Administration(
        AccessStore(site.api.catalog.settings, site.api.catalog.state),
        site.api.catalog.events,
        actor="test",
        now=lambda: datetime.now(UTC),
    )
    desk.change_account("bob", disabled=True)
    assert stream.next() == "end"
    stream.close()


def test_streams_are_bounded_and_their_places_come_back(site: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "MOST_OF_ONE", 3)
    streams = open_streams(site, *(site.visitor() for _ in range(3)))
    refused = site.visitor().get("/live")
    assert refused.status_code == 429
    for stream in streams:
        stream.close()
    wait_until(lambda: site.visitor().stream("GET", "/live").__enter__().status_code == 200, 20, "a place is free")


def test_streams_take_no_turns_and_no_threads(site: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are more of them than there are turns of readers and threads."""
    monkeypatch.setattr(live_feed, "MOST_OF_ONE", 60)
    before = threading.active_count()
    streams = open_streams(site, *(site.visitor() for _ in range(40)))
    assert threading.active_count() - before <= len(streams) + 20
    client = site.visitor()
    for _ in range(5):
        assert client.get("/repositories", timeout=5).status_code == 200
    for stream in streams:
        stream.close()


def test_a_client_that_goes_gives_its_place_back(site: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "MOST_OF_ONE", 1)
    url = httpx.URL(site.api.url)
    with socket.create_connection((url.host, url.port or 80)) as connection:
        connection.sendall(f"GET /live HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n\r\n".encode())
        assert b"retry" in connection.recv(4096) + connection.recv(4096)
        assert site.visitor().get("/live").status_code == 429

    def is_free() -> bool:
        with site.visitor().stream("GET", "/live") as answer:
            return answer.status_code == 200

    wait_until(is_free, 20, "its place is free")


def test_a_stop_of_the_server_waits_for_no_stream(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(serve(tmp_path / "entrepot"))
        stream = Stream(httpx.Client(base_url=api.url, trust_env=False))
        assert stream.status == 200
        stack.close()
        assert stream.next() is None
        assert stream.is_whole  # requests that are waited for in vain are cut off in the end
        stream.close()


def test_administrators_are_told_of_flow_runs(
    tmp_path: Path, session_prefect: PrefectServer, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        serve(tmp_path / "entrepot", prefect_api_url=session_prefect.api_url) as api,
        contextlib.closing(Shown(api, {})) as site,
    ):
        add_account(api.catalog, "bob", "pull:team/**")
        admin, bob = open_streams(site, site.administrator(), site.logged_in("bob"))
        flow = session_prefect.ask("POST", "/flows/", {"name": "sync-repository"})["id"]
        run = session_prefect.ask(
            "POST", "/flow_runs/", {"flow_id": flow, "name": "sync of <b>alpine</b>", "tags": ["entrepot"]}
        )
        state = {"state": {"type": "RUNNING", "name": "Running"}, "force": True}
        session_prefect.ask("POST", f"/flow_runs/{run['id']}/set_state", state)
        assert admin.next() == "runs"
        assert bob.seen(3) == []
        client = site.administrator()

        def names(path: str) -> set[str]:
            model = client.get(path).json()
            return {one["name"] for one in (model.get("in_progress") or (model["flows"] or {})["in_progress"])}

        wait_until(lambda: "sync of <b>alpine</b>" in names("/activity.json"), 20, "it is shown")
        page = client.get("/activity").text
        assert "sync of &lt;b&gt;alpine" in page
        assert site.logged_in("bob").get("/activity.json").json()["in_progress"] is None
        done = {"state": {"type": "COMPLETED", "name": "Completed"}, "force": True}
        session_prefect.ask("POST", f"/flow_runs/{run['id']}/set_state", done)
        assert admin.next() == "runs"
        for stream in (admin, bob):
            stream.close()
