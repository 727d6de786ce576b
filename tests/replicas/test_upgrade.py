"""Replicas are restarted and upgraded one after another, while clients pull and push."""

import http.server
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import httpx
import pytest

from catalog.database.engine import Schema
from catalog.lake.schema import MIGRATIONS
from tests.api.conftest import Api, serve
from tests.chaos.clients import Clients, Promises
from tests.chaos.cluster import Cluster, start_cluster
from tests.homes import new_home
from tests.nginx import start_nginx_before
from tests.replicas.pushes import push_small_image
from tests.servers import Children, free_port, wait_until

NAME = "team/app"
LAKE_TABLES = (
    "records", "distributions", "sources", "acts", "pulls", "pins", "remotes", "quotas", "retention_rules",
)  # fmt: skip
TENANTS = (
    "catalog.blobs.opening.SCHEMA",
    "catalog.blobs.shared_uploads.opening.SESSIONS_SCHEMA",
    "catalog.state.shared_state.STATE_SCHEMA",
    "catalog.webhooks.queue.QUEUE_SCHEMA",
)
"""Where the schemas of PostgreSQL's tables are used."""


@pytest.fixture(scope="module")
def cluster(module_children: Children, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Three replicas over a database and a store, which the tests of this module share."""
    return start_cluster(module_children, tmp_path_factory.mktemp("cluster"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_replicas_that_are_restarted_one_by_one_behind_nginx_fail_no_request(
    cluster: Cluster, children: Children, tmp_path: Path
) -> None:
    ports = [one.port for one in cluster.replicas]
    nginx = start_nginx_before(children, *ports, blobs=tmp_path)
    clients = Clients([nginx.url], ("admin", cluster.password), 5, pushers=1, pullers=1)
    promises = clients.promises
    try:
        wait_until(lambda: promises.newest > 0 and promises.pulls > 0, 30, "there is something to pull")
        promises.refused.clear()
        for one in cluster.replicas:
            assert one.child.stop() == 0
            before = promises.newest, promises.pulls
            one.restart()
            wait_until(lambda before=before: _both_grew(promises, before), 30, "pushes and pulls go on")  # type: ignore[misc]
    finally:
        clients.stop()
    assert (promises.refused, promises.wrong) == ([], [])
    assert len(promises.tags) > 10
    assert promises.pulls > 50


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_nginx_asks_replicas_again_as_soon_as_they_are_started(children: Children, tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    nginx = start_nginx_before(children, *ports, blobs=tmp_path)
    assert httpx.get(f"{nginx.url}/v2/", trust_env=False).status_code == 502
    with http.server.ThreadingHTTPServer(("127.0.0.1", ports[0]), _Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            # By itself, nginx would leave both out for ten seconds.
            wait_until(lambda: httpx.get(f"{nginx.url}/v2/", trust_env=False).status_code == 200, 5, "nginx asks again")
        finally:
            server.shutdown()


def _both_grew(promises: Promises, before: tuple[int, int]) -> bool:
    return promises.newest > before[0] and promises.pulls > before[1]


@contextmanager
def next_release(*, breaking: bool = False) -> Iterator[int]:
    """Have this process be of a release whose schemas are a step further: a column more in each table, and a table more.

    Yields the number of its lake's schema. `breaking`: a further step, which older releases may not write to.
    """
    added = tuple(f"ALTER TABLE {table} ADD COLUMN of_next_release VARCHAR" for table in LAKE_TABLES)
    entries = (*MIGRATIONS, (*added, "CREATE TABLE of_next_release (name VARCHAR)"))
    number = len(MIGRATIONS) + 1
    with pytest.MonkeyPatch.context() as patch:
        if breaking:
            entries, number = (*entries, ("UPDATE records SET of_next_release = 'must be there'",)), number + 1
            patch.setattr("catalog.lake.connection.BREAKING", frozenset({number}))
        patch.setattr("catalog.lake.connection.MIGRATIONS", entries)
        patch.setattr("catalog.lake.connection.SCHEMA_VERSION", number)
        for name in TENANTS:
            module, _, attribute = name.rpartition(".")
            schema: Schema = getattr(import_module(module), attribute)
            tables = re.findall(r"CREATE TABLE (\w+)", "".join(schema.postgresql))
            step = ";".join(
                f"ALTER TABLE {table} ADD COLUMN of_next_release TEXT NOT NULL DEFAULT ''" for table in tables
            )
            patch.setattr(name, replace(schema, postgresql=(*schema.postgresql, step)))
        yield number


def assert_all_work(writer: httpx.Client, readers: Sequence[httpx.Client], turn: str) -> None:
    """Do with one replica all that writes to the tables, and read what came of it from the others."""
    name, digest = f"upgrade/{turn}", push_small_image(writer, f"upgrade/{turn}", "v1", turn)
    location = writer.post(f"/v2/{name}/blobs/uploads/").headers["location"]
    assert writer.patch(location, content=b"some bytes").status_code == 202
    assert push_small_image(writer, name, "v2", f"{turn} again")
    api = "/api/v1"
    for answer in (
        writer.put(f"{api}/distributions/{name}", json={"repository": name, "private": True}),
        writer.put(f"{api}/quotas", json={"pattern": f"{turn}-*", "max_tags": 7}),
        writer.put(f"{api}/remotes/{turn}.example", json={}),
        writer.delete(f"/v2/{name}/manifests/v2"),
    ):
        assert answer.status_code < 300, f"{answer.request.url}: {answer.text}"
    for reader in readers:
        answer = reader.get(f"/v2/{name}/manifests/v1")
        assert (answer.status_code, answer.headers["docker-content-digest"]) == (200, digest)
        assert reader.get(f"/v2/{name}/tags/list").json()["tags"] == ["v1"]
        assert reader.get(location).status_code == 204


@pytest.fixture
def newer_home(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one more replica, which is served by this process."""
    for name, value in cluster.env.items():
        monkeypatch.setenv(name, value)
    home = new_home(tmp_path / "newer")
    (home / "admin-password").write_text(cluster.password)
    return home


def maintain(newer: Api) -> None:
    """Write what lies in the bookkeeping into files, as each night."""
    assert list(newer.catalog.maintenance._compaction.steps(keep_snapshots=0, grace=3600, now=time.time()))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_replica_of_the_release_before_goes_on_beside_a_newer_one(cluster: Cluster, newer_home: Path) -> None:
    older = cluster.replicas[0]
    with httpx.Client(base_url=older.url, auth=("admin", cluster.password), trust_env=False, timeout=30) as old:
        assert_all_work(old, [], "before")
        with next_release(), serve(newer_home) as newer:
            assert_all_work(newer.admin, [old], "newer")
            assert_all_work(old, [newer.admin], "older")
            maintain(newer)
            assert_all_work(old, [newer.admin], "maintained")
            assert older.child.stop() == 0
            older.restart()
            assert_all_work(old, [newer.admin], "started-again")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_replica_that_may_not_write_what_a_newer_release_reads_refuses_and_serves(
    cluster: Cluster, newer_home: Path
) -> None:
    older = cluster.replicas[1]
    with (
        httpx.Client(base_url=older.url, auth=("admin", cluster.password), trust_env=False, timeout=30) as old,
        next_release(breaking=True),
        serve(newer_home) as newer,
    ):
        digest = push_small_image(newer.admin, NAME, "of-newer", "of newer")
        with pytest.raises(AssertionError, match="503 "):
            push_small_image(old, NAME, "refused", "refused")
        answer = old.delete(f"/v2/{NAME}/manifests/of-newer")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        answer = old.get(f"/v2/{NAME}/manifests/of-newer")
        assert (answer.status_code, answer.headers["docker-content-digest"]) == (200, digest)
        assert newer.admin.delete(f"/v2/{NAME}/manifests/of-newer").status_code == 202
    assert older.child.stop() == 0
    with pytest.raises(AssertionError, match="written by a newer release"):
        older.restart()
