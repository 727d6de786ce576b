"""A database that went back to an earlier state under running replicas: nobody takes what they say for the newest."""

import time
from collections.abc import Callable

import httpx

from tests.postgresql import PostgresServer
from tests.replicas.conftest import Replica
from tests.replicas.pushes import push_small_image
from tests.servers import EntrepotServer, wait_until

Connect = Callable[[EntrepotServer], httpx.Client]


def test_pulls_are_warned_of_and_the_replica_is_not_ready_until_it_is_restarted(
    replica: Replica, client: Connect, database_server: PostgresServer
) -> None:
    own = client(replica())
    digest = push_small_image(own, "team/app", "latest", "here")
    assert "warning" not in own.get("/v2/team/app/manifests/latest").headers
    name = str(database_server.execute("SELECT datname FROM pg_database WHERE datname LIKE 'entrepot_%'")[0][0])

    database_server.execute(
        "CREATE TABLE kept AS SELECT * FROM ducklake_snapshot WHERE snapshot_id = (SELECT max(snapshot_id) FROM "
        "ducklake_snapshot)",
        name,
    )
    database_server.execute("DELETE FROM ducklake_snapshot WHERE snapshot_id IN (SELECT snapshot_id FROM kept)", name)
    found = own.get("/v2/team/app/manifests/latest")
    assert (found.status_code, found.headers["docker-content-digest"]) == (200, digest)
    assert found.headers["warning"].startswith("110 ")
    wait_until(lambda: own.get("/readyz").status_code == 503, 10, "the replica is not ready")
    assert "went back" in own.get("/readyz").json()["reasons"][0]
    assert own.get("/healthz").status_code == 200
    assert own.post("/v2/team/app/blobs/uploads/").status_code == 503
    assert own.get("/v2/team/app/manifests/other").status_code == 503
    time.sleep(3.5)  # digests are served without a question for three seconds
    assert own.get(f"/v2/team/app/manifests/{digest}").headers["warning"].startswith("110 ")
    assert own.get("/v2/team/app/tags/list").headers["warning"].startswith("110 ")

    # Others commit what has the same numbers and is something else.
    database_server.execute("INSERT INTO ducklake_snapshot SELECT * FROM kept", name)
    time.sleep(1.5)  # longer than an error is kept for
    assert own.get("/readyz").status_code == 503
    assert own.get("/v2/team/app/manifests/latest").headers["warning"].startswith("110 ")
    assert own.post("/v2/team/app/blobs/uploads/").status_code == 503
    again = client(replica())
    assert "warning" not in again.get("/v2/team/app/manifests/latest").headers
    push_small_image(again, "team/app", "next", "there")
