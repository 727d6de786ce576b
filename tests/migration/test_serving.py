"""A registry that serves while its catalogue moves: no pull fails, no acknowledged push is lost, later ones are refused."""

import threading
from pathlib import Path

import httpx
import pytest

from catalog.settings import Settings
from oci.digest import Digest
from tests.conftest import EntrepotFactory
from tests.migration.histories import fill, move, settings_of
from tests.postgresql import PostgresServer, environment
from tests.replicas.pushes import push_small_image
from tests.servers import EntrepotServer

pytestmark = pytest.mark.embedded


class Clients:
    """One that pulls and one that pushes, until the pushes are refused."""

    def __init__(self, server: EntrepotServer) -> None:
        self._client = httpx.Client(base_url=server.url, auth=server.auth, trust_env=False, timeout=60)
        self._is_ended = threading.Event()
        self.failures: list[str] = []
        self.pulls, self.refused = 0, ""
        self.pushed: dict[str, Digest] = {"first": push_small_image(self._client, "team/live", "first", "first")}
        self._threads = [threading.Thread(target=self._pull), threading.Thread(target=self._push)]
        for thread in self._threads:
            thread.start()

    def _pull(self) -> None:
        while not self._is_ended.is_set():
            for path in ("manifests/first", "tags/list", f"blobs/{Digest.of(b'first')}"):
                answer = self._client.get(f"/v2/team/live/{path}")
                if answer.status_code != 200:
                    self.failures.append(f"{path}: {answer.status_code} {answer.text}")
            self.pulls += 1

    def _push(self) -> None:
        for number in range(10_000):
            try:
                tag = f"t{number}"
                self.pushed[tag] = push_small_image(self._client, "team/live", tag, tag)
            except AssertionError as refusal:
                self.refused = str(refusal)
                return

    def end(self) -> None:
        self._threads[1].join(60)
        for _ in range(20):
            self._client.get("/v2/team/live/manifests/first").raise_for_status()
        self._is_ended.set()
        self._threads[0].join(60)
        self._client.close()


def test_pulls_go_on_and_no_acknowledged_push_is_lost(
    tmp_path: Path, postgres_server: PostgresServer, entrepot_server: EntrepotFactory
) -> None:
    files = fill(tmp_path / "home")
    shared = settings_of(tmp_path / "home", postgres_server.new_database())
    for source, target in ((files, shared), (shared, files)):
        old = entrepot_server(tmp_path / "home", env=_environment(source))
        clients = Clients(old)
        report = move(source, target).report
        clients.end()
        assert clients.failures == []
        assert clients.pulls > 5
        assert "503" in clients.refused
        assert "has moved to another place" in clients.refused
        assert "postgresql://" not in clients.refused
        assert target.catalog not in clients.refused or not target.catalog
        assert f"has moved to {report.target}" in old.child.tail(1000)
        assert report.held < 30
        old.child.stop()

        new = entrepot_server(tmp_path / "home", env=_environment(target))
        with httpx.Client(base_url=new.url, auth=new.auth, trust_env=False, timeout=60) as client:
            for tag, digest in clients.pushed.items():
                answer = client.get(f"/v2/team/live/manifests/{tag}")
                assert (answer.status_code, answer.headers.get("docker-content-digest")) == (200, digest), tag
            push_small_image(client, "team/live", "after", "after")
        new.child.stop()


def _environment(settings: Settings) -> dict[str, str]:
    return environment(settings.catalog) if settings.catalog else {}
