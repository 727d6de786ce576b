"""`python -m registry_api` as a process: how it starts, what it refuses, how it stops."""

import contextlib
import os
import re
import signal
import socket
import stat
import time
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import random_blob
from tests.conftest import EntrepotFactory
from tests.servers import Certificate, Child, Children, EntrepotServer, free_port, get, wait_until


def _command(*arguments: str) -> list[str]:
    import sys

    return [sys.executable, "-m", "registry_api", *arguments]


def _ends(children: Children, *arguments: str, **env: str) -> Child:
    child = children.start("entrepot", _command(*arguments), env=env)
    child.wait(30)
    return child


def _code(child: Child) -> int:
    assert child.process is not None
    return child.process.returncode


def test_the_first_start_prints_the_password_and_the_address_once(
    entrepot_server: EntrepotFactory, tmp_path: Path
) -> None:
    server = entrepot_server(tmp_path / "entrepot")
    first = server.child.output()
    assert first.count(server.password) == 1
    assert first.count(f"registry: {server.url}\n") == 1
    assert stat.S_IMODE((server.home / "admin-password").stat().st_mode) == 0o600
    assert server.child.stop() == 0
    server.restart()
    assert server.child.output().count(server.password) == 1
    assert server.child.output().count(f"registry: {server.url}\n") == 2


def test_port_0_takes_a_free_port_and_prints_it(children: Children, tmp_path: Path) -> None:
    child = children.start("entrepot", _command("--listen", "127.0.0.1:0", "--home", str(tmp_path / "home0")))
    child.wait_ready(lambda: "registry: " in child.output())
    found = re.search(r"registry: (http://127\.0\.0\.1:\d+)\n", child.output())
    assert found
    assert get(f"{found[1]}/readyz").status_code == 200


def test_home_and_address_come_from_the_environment_too(children: Children, tmp_path: Path) -> None:
    port = free_port()
    env = {"ENTREPOT_HOME": str(tmp_path / "elsewhere"), "ENTREPOT_LISTEN": f"127.0.0.1:{port}"}
    child = children.start("entrepot", _command(), env=env)
    child.wait_ready(lambda: f"registry: http://127.0.0.1:{port}\n" in child.output())
    assert (tmp_path / "elsewhere" / "admin-password").exists()


def test_another_address_without_tls_is_refused_with_exit_code_2(children: Children, tmp_path: Path) -> None:
    child = _ends(children, "--listen", "0.0.0.0:0", "--home", str(tmp_path / "refused"))
    assert _code(child) == 2
    assert "--allow-plain-http" in child.output()
    assert not (tmp_path / "refused").exists()


def test_another_address_is_listened_on_when_asked_for_by_name(children: Children, tmp_path: Path) -> None:
    arguments = ("--listen", "0.0.0.0:0", "--home", str(tmp_path / "asked"), "--allow-plain-http")
    child = children.start("entrepot", _command(*arguments))
    child.wait_ready(lambda: "registry: http://0.0.0.0:" in child.output())


@pytest.mark.parametrize(
    "arguments",
    [("--listen", "nowhere"), ("--tls-cert", "/nonexistent"), ("--tls-cert", "/dev/null", "--tls-key", "/dev/null")],
)
def test_wrong_settings_are_told_with_exit_code_2(
    children: Children, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    child = _ends(children, "--home", str(tmp_path / "wrong"), "--listen", "127.0.0.1:0", *arguments)
    assert _code(child) == 2
    assert child.output().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in child.output()


def test_an_unknown_option_is_exit_code_2(children: Children) -> None:
    assert _code(_ends(children, "--nonsense")) == 2


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_keeps_it_from_starting_is_told_with_exit_code_1(
    children: Children, tmp_path: Path, processes: str
) -> None:
    (tmp_path / "file").write_text("not a folder")
    unusable = _ends(
        children, "--home", str(tmp_path / "file"), "--listen", "127.0.0.1:0", ENTREPOT_SERVER_PROCESSES=processes
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        occupied = _ends(children, "--home", str(tmp_path / "ok"), "--listen", f"127.0.0.1:{port}")
    for child in (unusable, occupied):
        assert _code(child) == 1
        assert child.output().splitlines()[-1].startswith("error: ")
        assert "Traceback" not in child.output()
    assert f"cannot listen on 127.0.0.1:{port}" in occupied.output()


def test_it_speaks_tls(entrepot_server: EntrepotFactory, certificate: Certificate) -> None:
    server = entrepot_server(certificate=certificate)
    assert f"registry: https://127.0.0.1:{server.port}\n" in server.child.output()
    answer = get(f"{server.url}/healthz", ca_file=certificate.ca_file)
    assert answer.status_code == 200


def test_requests_are_logged_only_when_asked_for(entrepot_server: EntrepotFactory) -> None:
    quiet, telling = entrepot_server(), entrepot_server(arguments=("--access-log",))
    for server in (quiet, telling):
        get(f"{server.url}/v2/team/app/manifests/latest")
    assert "/v2/team/app/manifests/latest" not in quiet.child.output()
    wait_until(lambda: "/v2/team/app/manifests/latest" in telling.child.output(), 5, "the request is logged")


# --- stopping --------------------------------------------------------------------------------------------------


def _stalled_upload(server: EntrepotServer) -> socket.socket:
    """A connection in the middle of a PATCH."""
    import base64

    location = httpx.post(f"{server.url}/v2/team/app/blobs/uploads/", auth=server.auth, trust_env=False).headers[
        "location"
    ]
    token = base64.b64encode(server.creds.encode()).decode()
    sock = socket.create_connection(("127.0.0.1", server.port))
    head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\nContent-Length: 9000000\r\n\r\n"
    sock.sendall(head.encode() + b"x" * 2_000_000)
    return sock


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_it_stops_within_seconds_whatever_clients_hold(
    entrepot_server: EntrepotFactory, number: signal.Signals, processes: str
) -> None:
    server = entrepot_server(env={"ENTREPOT_SERVER_PROCESSES": processes})
    with contextlib.ExitStack() as held:
        stalled = held.enter_context(_stalled_upload(server))
        for _ in range(10):
            idle = held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            idle.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            idle.recv(1000)
        server.child.signal(number)
        assert server.child.wait(20) == 0
        assert stalled.recv(100).startswith(b"HTTP/1.1 503 ")
    assert "Traceback" not in server.child.output()


def test_an_idle_server_stops_at_once(entrepot_server: EntrepotFactory) -> None:
    server = entrepot_server()
    begun = time.monotonic()
    assert server.child.stop() == 0
    assert time.monotonic() - begun < 3


# --- several processes -----------------------------------------------------------------------------------------


def _start_two(entrepot_server: EntrepotFactory) -> EntrepotServer:
    """Two processes, both of them ready."""
    server = entrepot_server(env={"ENTREPOT_SERVER_PROCESSES": "2"})
    server.child.wait_ready(lambda: "registry: " in server.child.output())
    return server


def _workers(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def _is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_processes_share_one_address_and_see_each_other_s_pushes(entrepot_server: EntrepotFactory) -> None:
    server = _start_two(entrepot_server)
    assert len(_workers(server.child.pid)) == 2
    for number in range(5):
        data = random_blob()
        with httpx.Client(base_url=server.url, auth=server.auth, trust_env=False) as client:
            location = client.post("/v2/team/app/blobs/uploads/").headers["location"]
        with httpx.Client(base_url=server.url, auth=server.auth, trust_env=False) as client:
            from oci.digest import Digest

            assert client.put(location, params={"digest": Digest.of(data)}, content=data).status_code == 201
        with httpx.Client(base_url=server.url, auth=server.auth, trust_env=False) as client:
            assert client.get(f"/v2/team/app/blobs/{Digest.of(data)}").content == data, number


def test_one_that_dies_before_all_are_ready_ends_the_whole(entrepot_server: EntrepotFactory) -> None:
    server = entrepot_server(env={"ENTREPOT_SERVER_PROCESSES": "2"}, ready=False)
    wait_until(lambda: len(_workers(server.child.pid)) == 2, 20, "two are started")
    os.kill(_workers(server.child.pid)[0], signal.SIGKILL)
    assert server.child.wait(20) == 1
    assert "could not start" in server.child.output()


def test_a_process_that_dies_is_replaced(entrepot_server: EntrepotFactory) -> None:
    server = _start_two(entrepot_server)
    victim, other = _workers(server.child.pid)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(_workers(server.child.pid)) == 2 and victim not in _workers(server.child.pid), 10, "two run")
    assert other in _workers(server.child.pid)
    assert get(f"{server.url}/readyz").status_code == 200
    assert server.child.stop() == 0


def test_processes_end_when_the_one_that_watches_them_is_killed(entrepot_server: EntrepotFactory) -> None:
    server = _start_two(entrepot_server)
    workers = _workers(server.child.pid)
    server.child.signal(signal.SIGKILL)
    wait_until(lambda: not any(map(_is_alive, workers)), 15, "the workers end")
