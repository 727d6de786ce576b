"""Whatever one replica has acknowledged, every other one serves at once; without the database they serve what they know."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx

from oci.digest import Digest
from tests.postgresql import PostgresServer
from tests.replicas.conftest import Replica
from tests.replicas.pushes import push_small_image
from tests.servers import EntrepotServer, wait_until

Connect = Callable[[EntrepotServer], httpx.Client]


def push(client: httpx.Client, tag: str, text: str) -> Digest:
    """Push an image of a few bytes; return its digest."""
    return push_small_image(client, "team/app", tag, text)


def test_a_tag_moved_on_one_replica_is_moved_on_the_other_before_the_push_is_acknowledged(
    replica: Replica, client: Connect
) -> None:
    first, second = client(replica()), client(replica())
    for number in range(30):
        writer, reader = (first, second) if number % 2 else (second, first)
        digest = push(writer, "latest", f"image {number}")
        found = reader.head("/v2/team/app/manifests/latest")
        assert found.headers["docker-content-digest"] == digest
        assert reader.get(f"/v2/team/app/manifests/{digest}").status_code == 200
    assert first.delete("/v2/team/app/manifests/latest").status_code == 202
    assert second.get("/v2/team/app/manifests/latest").status_code == 404


def test_two_replicas_that_push_at_once_lose_nothing(replica: Replica, client: Connect) -> None:
    servers = [replica(), replica()]
    failures: list[str] = []

    def push_many(server: EntrepotServer, name: str) -> None:
        own = client(server)
        for number in range(15):
            try:
                push(own, f"{name}-{number}", f"{name} {number}")
            except (httpx.HTTPError, AssertionError) as error:
                failures.append(f"{name} {number}: {error}")

    threads = [
        threading.Thread(target=push_many, args=(server, f"{place}{turn}"))
        for place, server in enumerate(servers)
        for turn in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for server in servers:
        tags = client(server).get("/v2/team/app/tags/list").json()["tags"]
        assert len(tags) == 60
    sql = "SELECT number FROM versions WHERE repository = 'team/app' ORDER BY number"
    rows = client(servers[0]).post("/api/v1/query", json={"sql": sql}).json()
    numbers = [row["number"] for row in rows]
    assert numbers == list(range(1, len(numbers) + 1))


def test_without_the_database_pulls_go_on_and_pushes_are_told_to_try_again(
    replica: Replica, client: Connect, database_server: PostgresServer
) -> None:
    server = replica()
    own = client(server)
    digest = push(own, "latest", "here")
    assert own.get("/v2/team/app/manifests/latest").status_code == 200
    child = next(one for one in database_server.children.all if one.name == "postgres")
    child.kill()

    found = own.get("/v2/team/app/manifests/latest")
    assert (found.status_code, found.headers["docker-content-digest"]) == (200, digest)
    assert found.headers["warning"].startswith("110 ")
    assert own.get(f"/v2/team/app/manifests/{digest}").status_code == 200
    missing = own.get("/v2/team/app/manifests/other")
    assert (missing.status_code, missing.headers["retry-after"]) == (503, "2")
    refused = own.post("/v2/team/app/blobs/uploads/")
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    assert own.get("/healthz").status_code == 200
    wait_until(lambda: own.get("/readyz").status_code == 503, 10, "the replica is not ready")

    child.start()
    wait_until(lambda: own.get("/readyz").status_code == 200, 30, "the replica is ready again")
    again = push(own, "latest", "again")
    found = own.get("/v2/team/app/manifests/latest")
    assert (found.headers["docker-content-digest"], "warning" in found.headers) == (again, False)
    assert own.get("/v2/team/app/manifests/other").status_code == 404


def test_a_database_that_hangs_holds_up_neither_pulls_nor_the_rest(
    replica: Replica, client: Connect, database_server: PostgresServer
) -> None:
    """Blobs that nobody has opened yet are looked up there."""
    server = replica()
    own, other = client(server), client(server)
    digest = push(own, "latest", "here")
    layer = own.get(f"/v2/team/app/manifests/{digest}").json()["layers"][0]["digest"]
    assert own.get("/v2/team/app/manifests/latest").status_code == 200
    with database_server.paused(), ThreadPoolExecutor() as threads:
        waiting = threads.submit(other.get, f"/v2/team/app/blobs/{layer}", timeout=5)
        began = time.monotonic()
        assert own.get("/healthz", timeout=2).status_code == 200
        found = own.get("/v2/team/app/manifests/latest")
        assert (found.status_code, found.headers["warning"][:4]) == (200, "110 ")
        assert time.monotonic() - began < 4
        with suppress(httpx.TimeoutException):
            waiting.result()
        assert own.get(f"/v2/team/app/blobs/{layer}").status_code == 503
    wait_until(lambda: own.get(f"/v2/team/app/blobs/{layer}").status_code in (200, 307), 20, "the blob can be had")


def test_a_replica_that_has_only_heard_of_a_commit_serves_what_it_knew_before(
    replica: Replica, client: Connect, database_server: PostgresServer
) -> None:
    writer, reader = client(replica()), client(replica())
    digest = push(writer, "latest", "before")
    assert reader.get("/v2/team/app/manifests/latest").status_code == 200
    push(writer, "latest", "after")
    time.sleep(1)  # its listener hears of it, and nobody asks it for anything
    child = next(one for one in database_server.children.all if one.name == "postgres")
    child.kill()
    for reference in ("latest", digest):
        found = reader.get(f"/v2/team/app/manifests/{reference}")
        assert (found.status_code, found.headers["docker-content-digest"]) == (200, digest)
        assert found.headers["warning"].startswith("110 ")
    child.start()
    child.wait_ready(database_server.answers)
    wait_until(lambda: "warning" not in reader.get(f"/v2/team/app/manifests/{digest}").headers, 10, "it is confirmed")
    assert reader.head("/v2/team/app/manifests/latest").headers["docker-content-digest"] != digest
