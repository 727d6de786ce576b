"""Our Prefect server against a web page in the operator's browser and a user of the machine without its login."""

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from catalog.prefect.address import ensure_login, known_addresses, read_login
from catalog.running_instance import Running, up_lock, write_running
from catalog.settings import Settings, read_settings
from catalog.webhooks.queue import Run
from flows.orchestration.deployments import ENGINE, ensure_work_pool, job_template
from flows.orchestration.servers.guard import refusal
from flows.orchestration.servers.home import server_environment
from flows.orchestration.servers.process import loopback_socket
from oci.errors import CatalogUnusable, RemoteUnauthorized, RemoteUnavailable, SettingsInvalid
from registry_api.webhooks.prefect_client import find_prefect_api, prefect_client, start_run
from tests.cli.commands import PrefectServer, start_prefect
from tests.servers import Children

EVIL = "http://evil.example"
DEPLOYMENT = {
    "name": "x",
    "flow_id": "00000000-0000-0000-0000-000000000000",
    "job_variables": {"command": "id > /tmp/x"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The home of the server that the tests of this module share."""
    return read_settings(home=tmp_path_factory.mktemp("home") / "entrepot")


@pytest.fixture(scope="module")
def server(module_children: Children, home: Settings) -> PrefectServer:
    """A server as `entrepot up` starts it, but for its UI's files."""
    settings, folder = home, home.root
    login = ensure_login(settings)
    return start_prefect(
        module_children, folder, login=login, env=lambda port: server_environment(settings, port, login)
    )


@pytest.fixture
def nobody(server: PrefectServer) -> Iterator[httpx.Client]:
    """Somebody on this machine without the login."""
    with httpx.Client(base_url=server.api_url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def owner(server: PrefectServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.api_url, auth=server.auth, trust_env=False, timeout=30) as client:
        yield client


def asked(client: httpx.Client, method: str, path: str, body: object = None, **headers: str) -> int:
    return client.request(method, path, json=body, headers=headers).status_code


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/deployments/", DEPLOYMENT),
        ("POST", "/flow_runs/filter", {}),
        ("POST", "/artifacts/filter", {}),
        ("POST", "/logs/filter", {}),
        ("POST", "/events/filter", {}),
        ("POST", "/work_pools/", {"name": "other", "type": "process"}),
        ("PATCH", "/work_pools/entrepot", {"base_job_template": {}}),
        ("POST", "/block_documents/filter", {}),
        ("GET", "/admin/settings", None),
        ("GET", "/variables/name/health", None),
        ("POST", "/v2/concurrency_limits/", {"name": "x", "limit": 1}),
        ("POST", "/automations/", {}),
    ],
)
def test_a_local_user_without_the_login_reads_and_changes_nothing(
    nobody: httpx.Client, owner: httpx.Client, method: str, path: str, body: object
) -> None:
    assert asked(nobody, method, path, body) == 401
    assert asked(nobody, method, path, body, Authorization="Basic YWRtaW46cGFzcw==") == 401
    assert asked(owner, method, path, body) != 401


def first_word(url: str, subprotocols: Any) -> str:
    """What a web socket answers to a wrong login."""
    with connect(url, subprotocols=subprotocols) as socket:
        socket.send(json.dumps({"type": "auth", "token": "admin:pass"}))
        return str(socket.recv(timeout=10))


@pytest.mark.parametrize("path", ["/events/in", "/events/out", "/logs/out", "/task_runs/subscriptions/scheduled"])
@pytest.mark.parametrize("subprotocols", [None, ["prefect"]])
def test_no_web_socket_opens_without_the_login(server: PrefectServer, path: str, subprotocols: Any) -> None:
    url = server.api_url.replace("http", "ws") + path
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        first_word(url, subprotocols)


def test_the_owner_has_events_by_web_socket_but_not_from_another_page(server: PrefectServer) -> None:
    url = server.api_url.replace("http", "ws") + "/events/in"
    with connect(url, subprotocols=["prefect"]) as socket:  # type: ignore[list-item]
        socket.send(json.dumps({"type": "auth", "token": server.login}))
        assert json.loads(socket.recv(timeout=10)) == {"type": "auth_success"}
    with pytest.raises(InvalidStatus) as refused, connect(url, origin=EVIL, subprotocols=["prefect"]):  # type: ignore
        pass
    assert refused.value.response.status_code == 403


def test_a_page_of_another_origin_is_let_do_nothing(nobody: httpx.Client, owner: httpx.Client) -> None:
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    for origin in (EVIL, "null", "http://127.0.0.1:1", "https://127.0.0.1"):
        answer = nobody.options("/deployments/", headers={"Origin": origin, **preflight})
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (403, False)
        simple = owner.post(  # what a page may send without asking first, were the browser to know the login
            "/flow_runs/filter", content="{}", headers={"Origin": origin, "Content-Type": "text/plain"}
        )
        assert simple.status_code == 403


def test_its_own_page_goes_on(server: PrefectServer, owner: httpx.Client) -> None:
    for host in ("127.0.0.1", "localhost"):
        origin = f"http://{host}:{server.port}"
        answer = owner.options(
            "/flow_runs/filter",
            headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
        )
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)
        assert owner.post("/flow_runs/filter", json={}, headers={"Origin": origin}).status_code == 200


def test_a_name_of_somebody_else_that_leads_here_is_refused(server: PrefectServer, nobody: httpx.Client) -> None:
    for host in (f"evil.example:{server.port}", "127.0.0.1", f"127.0.0.1:{server.port + 1}", "", "127.0.0.1:80@x"):
        assert asked(nobody, "GET", "/health", Host=host) == 403
        assert asked(nobody, "POST", "/flow_runs/filter", {}, Host=host) == 403
    assert asked(nobody, "GET", "/health", Host=f"LOCALHOST:{server.port}") == 200


def test_two_hosts_are_refused_and_port_80_may_be_left_out() -> None:
    own = (b"Host", b"127.0.0.1:4200")
    assert not refusal([own], 4200)
    assert refusal([own, (b"host", b"evil.example")], 4200)
    assert refusal([own, (b"origin", b"http://127.0.0.1:4200"), (b"Origin", EVIL.encode())], 4200)
    assert refusal([], 4200)
    assert not refusal([(b"host", b"localhost"), (b"origin", b"http://localhost")], 80)


def test_the_ui_asks_for_the_login_and_is_sent_to_its_own_server(server: PrefectServer) -> None:
    with httpx.Client(trust_env=False) as client:
        told = client.get(f"http://127.0.0.1:{server.port}/ui-settings").json()
    assert (told["auth"], told["api_url"]) == ("BASIC", server.api_url)


@pytest.fixture
def prefect(server: PrefectServer) -> Iterator[SyncPrefectClient]:
    """Prefect's own client, logged in."""
    with (
        temporary_settings({PREFECT_API_URL: server.api_url, PREFECT_API_AUTH_STRING: server.login}),
        get_client(sync_client=True) as client,
    ):
        yield client


@pytest.mark.usefixtures("prefect")
def test_a_deployment_has_no_say_in_the_process_that_runs_it() -> None:
    values = {"command": "id", "env": {"PATH": "/tmp"}, "env.LD_PRELOAD": "/tmp/x.so", "working_dir": "/"}
    made: Any = ProcessJobConfiguration.from_template_and_values(job_template(), values)
    found = asyncio.run(made)
    assert (found.command, found.env, found.working_dir) == (ENGINE, {}, None)


def test_the_template_of_a_former_release_is_replaced_on_our_server_alone(prefect: SyncPrefectClient) -> None:
    former = ProcessWorker.get_default_base_job_template()
    prefect.create_work_pool(WorkPoolCreate(name="entrepot", type="process", base_job_template=former))
    ensure_work_pool(prefect, "entrepot", own=False)
    assert prefect.read_work_pool("entrepot").base_job_template == former
    ensure_work_pool(prefect, "entrepot", own=True)
    assert prefect.read_work_pool("entrepot").base_job_template == job_template()


def test_nobody_else_can_take_the_port_while_the_server_starts_or_is_down() -> None:
    with loopback_socket() as ours, socket.socket() as theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            theirs.bind(ours.getsockname())
        with pytest.raises(SettingsInvalid, match="--prefect-port"):
            loopback_socket(ours.getsockname()[1])


def test_the_registry_starts_runs_of_hooks_with_the_login(server: PrefectServer, home: Settings) -> None:
    run = Run("key", "hook", "sync-repository/not-there", {}, 0.0)

    async def started() -> str:
        async with prefect_client(home, find_prefect_api(home), {}) as client:
            return await start_run(client, run)

    with pytest.raises(RemoteUnavailable, match="no Prefect server is known"):
        asyncio.run(started())
    with up_lock(home):
        for ours, error in ((False, RemoteUnauthorized), (True, RemoteUnavailable)):
            write_running(home, Running(1, "ui", server.api_url, "registry", prefect_is_ours=ours))
            with pytest.raises(error, match="responded 404" if ours else "responded 401"):
                asyncio.run(started())


# --- who is given the login ------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path / "entrepot")


def test_the_login_is_kept_for_the_owner_alone_and_stays(settings: Settings) -> None:
    assert read_login(settings) == ""
    login = ensure_login(settings)
    assert ensure_login(settings) == read_login(settings) == login
    assert len(login) > 40
    assert settings.prefect_login_file.stat().st_mode & 0o777 == 0o600
    settings.prefect_login_file.chmod(0o644)
    read_login(settings)
    assert settings.prefect_login_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "nocolon", ":x", "x:", "a:b\nc"])
def test_a_broken_login_file_is_refused(settings: Settings, text: str) -> None:
    ensure_login(settings)
    settings.prefect_login_file.write_text(text)
    with pytest.raises(CatalogUnusable, match="prefect-login"):
        read_login(settings)


def test_no_other_server_is_given_the_login(settings: Settings, tmp_path: Path) -> None:
    login = ensure_login(settings)
    assert known_addresses(settings) == []  # what listens at the default address may be anybody's
    set_by_name = read_settings(home=tmp_path / "entrepot", prefect_api_url="http://127.0.0.1:4200/api/")
    (other,) = known_addresses(set_by_name)
    assert (other.url, other.login) == ("http://127.0.0.1:4200/api", "")
    with up_lock(settings):
        write_running(settings, Running(1, "ui", "http://127.0.0.1:4300/api", "registry", prefect_is_ours=True))
        own, other = known_addresses(set_by_name)
        assert (own.url, own.login, other.login) == ("http://127.0.0.1:4300/api", login, "")
        assert login not in repr(own)
        client = prefect_client(settings, find_prefect_api(settings), {"PREFECT_API_KEY": "of-the-cloud"})
        assert client.headers["authorization"] == f"Basic {base64.b64encode(login.encode()).decode()}"
        write_running(settings, Running(1, "ui", "https://prefect.example/api", "registry"))
        client = prefect_client(settings, find_prefect_api(settings), {"PREFECT_API_KEY": "of-the-cloud"})
        assert client.headers["authorization"] == "Bearer of-the-cloud"
