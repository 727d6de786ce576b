"""Point-in-time restore as docs/replicas.md describes it: the database to a moment, over the bucket as it is."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tests.homes import new_home
from tests.postgresql import PostgresServer, environment, make_postgres, program, write_settings
from tests.replicas.pushes import push_small_image
from tests.servers import Children, EntrepotServer, free_port, start_entrepot, start_s3, wait_until

Connect = Callable[[EntrepotServer], httpx.Client]


def test_the_database_is_restored_to_a_moment_and_everything_of_then_is_served(
    children: Children, tmp_path: Path, client: Connect
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="archive-"))
    folder.chmod(0o777)
    try:
        _restore(children, tmp_path, client, folder)
    finally:
        shutil.rmtree(folder)


def _restore(children: Children, tmp_path: Path, client: Connect, archive: Path) -> None:
    database = make_postgres(
        children,
        settings={"archive_mode": "on", "archive_command": f"cp %p {archive}/%f", "wal_level": "replica"},
    )
    store, url = start_s3(children), database.new_database()
    server = start_entrepot(children, new_home(tmp_path / "first"), env={**environment(url), **store.env})
    own = client(server)
    kept = [push_small_image(own, "team/app", f"before-{number}", f"before {number}") for number in range(5)]
    _back_up(database, archive / "base")
    kept += [push_small_image(own, "team/app", f"later-{number}", f"later {number}") for number in range(5)]
    time.sleep(1.1)  # PostgreSQL stops at the first transaction after the moment
    moment = datetime.now(UTC)
    time.sleep(1.1)
    gone = push_small_image(own, "team/app", "mistake", "a mistake")
    assert own.delete("/v2/team/app/manifests/before-0").status_code == 202
    segment = database.execute("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
    wait_until(lambda: (archive / str(segment)).exists(), 20, "the log is archived")
    server.child.stop()
    next(one for one in children.all if one.name == "postgres").stop()

    restored = _start_restored(database, archive, moment)
    again = start_entrepot(
        children,
        new_home(tmp_path / "second"),
        env={**environment(restored.url(url.rpartition("/")[2])), **store.env},
    )
    (again.home / "admin-password").write_text(server.password)
    own = client(again)
    for digest in kept:
        manifest = own.get(f"/v2/team/app/manifests/{digest}")
        assert manifest.status_code == 200
        for layer in manifest.json()["layers"]:
            blob = own.get(f"/v2/team/app/blobs/{layer['digest']}", follow_redirects=True)
            assert (blob.status_code, len(blob.content)) == (200, layer["size"])
    tags = own.get("/v2/team/app/tags/list").json()["tags"]
    assert ("before-0" in tags, "mistake" in tags) == (True, False)
    assert own.get(f"/v2/team/app/manifests/{gone}").status_code == 404
    push_small_image(own, "team/app", "mistake", "a mistake")  # its bytes are in the bucket already


def _back_up(database: PostgresServer, to: Path) -> None:
    command = [program("pg_basebackup"), "-D", str(to), "-h", "127.0.0.1", "-p", str(database.port), "-U", "postgres"]
    subprocess.run(
        [*database.prefix, *command, "-c", "fast"],
        env={"PGPASSWORD": database.password, "PATH": "/usr/bin"},
        check=True,
        capture_output=True,
        cwd=database.folder,
    )


def _start_restored(database: PostgresServer, archive: Path, moment: datetime) -> PostgresServer:
    """Start a cluster from the backup, which replays the archived log up to the moment and takes writes then."""
    data = database.folder / "data"
    shutil.rmtree(data)
    subprocess.run([*database.prefix, "cp", "-a", str(archive / "base"), str(data)], check=True)
    write_settings(
        data,
        {
            "restore_command": f"cp {archive}/%f %p",
            "recovery_target_time": moment.isoformat(),
            "recovery_target_action": "promote",
            "archive_mode": "off",
        },
    )
    (data / "recovery.signal").touch()
    restored = PostgresServer(database.children, database.folder, free_port(), database.prefix)
    restored.start()
    wait_until(lambda: restored.execute("SELECT pg_is_in_recovery()") == [(False,)], 30, "the restore has ended")
    return restored
