"""A PostgreSQL server for tests: started on a free loopback port, stopped by pid, with a database for each test."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.servers import Child, Children, free_port, tool

_FOLDERS = "/usr/lib/postgresql/*/bin"
_NUMBERS = count(1)


def program(name: str) -> str:
    """Find a program of PostgreSQL, which Debian keeps beside the path, or skip as `tool` does."""
    found = sorted(Path("/").glob(f"{_FOLDERS.removeprefix('/')}/{name}"), key=lambda path: int(path.parts[-3]))
    return str(found[-1]) if found else tool(name)


def _as_user(folder: Path) -> list[str]:
    """Return what goes before a command that root must not run."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres" if shutil.which("setpriv") else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@dataclass(frozen=True)
class PostgresServer:
    """A running server. `start` it again after its child was killed."""

    children: Children
    folder: Path
    port: int
    prefix: tuple[str, ...]

    password = "correct horse's staple"  # of this server alone

    def start(self) -> Child:
        """Start the server, and wait until it answers."""
        options = ["-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder)]
        child = self.children.start(
            "postgres",
            [*self.prefix, program("postgres"), *options, "-c", "listen_addresses=127.0.0.1"],
            cwd=self.folder,
        )
        child.ends_by = signal.SIGINT  # else it waits for its clients to leave
        child.wait_ready(self.answers)
        return child

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop all processes of the server within the context: connections stay, and nobody answers."""
        main = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        found = subprocess.run(["pgrep", "-P", str(main)], check=True, capture_output=True, text=True).stdout
        processes = [main, *map(int, found.split())]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def answers(self) -> bool:
        """Return whether the server takes connections."""
        command = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def url(self, database: str) -> str:
        """Return the URL of a database, without the password."""
        return f"postgresql://entrepot@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser; return its rows."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=self.password, dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def new_database(self, *, template: str = "") -> str:
        """Make a database that belongs to the user `entrepot`, a copy of another URL's where one is given; return its URL."""
        name, source = f"entrepot_{next(_NUMBERS)}", template.rpartition("/")[2] or "template1"
        self.execute(f"CREATE DATABASE {name} OWNER entrepot TEMPLATE {source}")
        return self.url(name)


def make_postgres(
    children: Children, *, durable: bool = False, settings: Mapping[str, str] | None = None
) -> PostgresServer:
    """Make a cluster and start it. It does not sync to disk unless `durable`: then a power cut loses nothing."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # its user gets to no folder of pytest's
    weakref.finalize(children, shutil.rmtree, folder, ignore_errors=True)
    prefix = _as_user(folder)
    secret = folder / "password"
    secret.write_text(PostgresServer.password)
    secret.chmod(0o644)
    initdb = [program("initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "scram-sha-256", "-N"]
    subprocess.run(
        [*prefix, *initdb, "--pwfile", str(secret), "-E", "UTF8", "--locale=C.UTF-8"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    if not durable:
        with (folder / "data" / "postgresql.auto.conf").open("a") as out:
            out.write("fsync = off\nfull_page_writes = off\nmax_connections = 500\n")
    write_settings(folder / "data", settings or {})
    server = PostgresServer(children, folder, free_port(), tuple(prefix))
    server.start()
    server.execute(f"CREATE ROLE entrepot LOGIN PASSWORD '{server.password.replace(chr(39), chr(39) * 2)}'")
    return server


@contextmanager
def stopped_sessions(server: PostgresServer, database: str, which: str) -> Iterator[None]:
    """Stop the server's side of those sessions of a database that a condition of `pg_stat_activity` selects; at least one."""
    sql = f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}' AND {which}"
    found = [int(str(row[0])) for row in server.execute(sql)]
    assert found
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def write_settings(data: Path, settings: Mapping[str, str]) -> None:
    """Add settings to a cluster that does not run."""
    with (data / "postgresql.auto.conf").open("a") as out:
        out.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


def environment(url: str) -> dict[str, str]:
    """Return what makes an installation of ours keep its catalogue there."""
    return {"ENTREPOT_CATALOG": url, "ENTREPOT_CATALOG_PASSWORD": PostgresServer.password}


def use(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have installations of this test keep their catalogue in a database; return its URL."""
    for name, value in environment(url).items():
        monkeypatch.setenv(name, value)
    return url
