"""What every test gets: an empty environment of its own, and factories for servers and clients that end with it."""

import contextlib
import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests import on_postgresql, scratch, servers
from tests.cli.commands import PrefectServer, save_prefect_database, start_prefect
from tests.fork_server import ForkServer
from tests.homes import new_home
from tests.postgresql import PostgresServer, make_postgres, use
from tests.scheduling import Recorder, longest_first, read_durations
from tests.servers import Certificate, Children, Client, DockerRegistry, EntrepotServer, S3Server

_CHILDREN = pytest.StashKey[list[Children]]()
_FORKED = pytest.StashKey[contextlib.ExitStack]()
_FILES = pytest.StashKey[str]()


class DockerRegistryFactory(Protocol):
    def __call__(
        self, *, auth: bool = False, storage: Path | None = None, port: int | None = None
    ) -> DockerRegistry: ...


class EntrepotFactory(Protocol):
    def __call__(self, home: Path | None = None, **options: Any) -> EntrepotServer: ...


def pytest_configure(config: pytest.Config) -> None:
    """Isolate the whole run before any test module is imported: Prefect reads its settings at import."""
    # Started in the background, a shell has SIGINT ignored, and every process started from here would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does: servers end before the run does
    config.stash[_FORKED] = contextlib.ExitStack()
    if not hasattr(config, "workerinput"):  # the others have TMPDIR from this one
        config.stash[_FILES] = config.stash[_FORKED].enter_context(scratch.in_memory(os.environ))
    home = Path(tempfile.mkdtemp(prefix="entrepot-tests-"))
    config.stash[_FORKED].callback(shutil.rmtree, home, ignore_errors=True)
    servers.isolate(os.environ, home)
    importlib.import_module(
        "prefect"
    )  # flows are Prefect's in processes that have it, whatever test imports them first
    sys.dont_write_bytecode = False
    if config.getoption("on_postgresql") and _runs_tests(config):
        config.stash[_FORKED].enter_context(on_postgresql.running(home, on_s3=config.getoption("on_s3")))
    config.stash[_FORKED].enter_context(servers.forked_from(ForkServer(home / "fork-server.log")))
    if config.getoption("record_durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


def pytest_report_header(config: pytest.Config) -> str:
    """Say where the tests' files are."""
    return config.stash.get(_FILES, "")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the collector of garbage what stays to the end: thousands of tests, and all that they have imported."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _runs_tests(config: pytest.Config) -> bool:
    """Return whether this process runs tests, and does not only hand them out."""
    return hasattr(config, "workerinput") or config.getoption("dist", "no") == "no"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--on-postgresql", action="store_true", help="keep every catalogue in PostgreSQL")
    parser.addoption("--on-s3", action="store_true", help="with --on-postgresql: keep all blobs in S3 besides")
    parser.addoption("--record-durations", action="store_true", help="write tests/durations.txt again")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have processes that share the modules begin with the longest."""
    if config.getoption("on_postgresql"):
        for item in items:
            if item.get_closest_marker("embedded"):
                item.add_marker(pytest.mark.skip(reason="of the embedded default alone"))
            elif config.getoption("on_s3") and (found := item.get_closest_marker("local_blobs")):
                item.add_marker(pytest.mark.skip(reason=f"of blobs in a folder: {found.args[0]}"))
    if hasattr(config, "workerinput"):
        items[:] = [items[place] for place in longest_first([item.nodeid for item in items], read_durations())]


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_FORKED].close()


@pytest.fixture(autouse=True)
def isolated_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HOME, ENTREPOT_HOME and PREFECT_HOME of this one test; what a test sets in os.environ is undone after it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ENTREPOT_HOME", str(home / "entrepot"))
    monkeypatch.setenv("PREFECT_HOME", str(home / "prefect"))
    return home


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the logs of a failed test's processes below its traceback."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed:
        for children in item.session.stash.get(_CHILDREN, []):
            report.sections.extend((f"log of {child.name}", child.tail()) for child in children.all)
    return report  # type: ignore[return-value]


def _registered(request: pytest.FixtureRequest, folder: Path) -> Iterator[Children]:
    groups = request.session.stash.setdefault(_CHILDREN, [])
    with Children(folder) as children:
        groups.append(children)
        yield children
        groups.remove(children)


@pytest.fixture
def children(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Children]:
    """Starts processes that are stopped after the test; their logs are shown when it fails."""
    yield from _registered(request, tmp_path / "children")


@pytest.fixture(scope="module")
def module_children(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """As `children`, for servers that the tests of one module share."""
    yield from _registered(request, tmp_path_factory.mktemp("children"))


@pytest.fixture(scope="session")
def session_children(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """As `children`, for servers that all tests of this run, or of this worker of it, share."""
    yield from _registered(request, tmp_path_factory.mktemp("children"))


@pytest.fixture(scope="session")
def session_prefect(session_children: Children, tmp_path_factory: pytest.TempPathFactory) -> PrefectServer:
    """A Prefect server that all tests share: they ask it for what their own runs have left, and do not stop it."""
    server = start_prefect(session_children, tmp_path_factory.mktemp("prefect"))
    save_prefect_database(server, server.home / "first.db")
    return server


@pytest.fixture(scope="session")
def prefect_database(session_prefect: PrefectServer) -> Path:
    """The database of a Prefect server after its first start, which takes longest by far: its migrations ran one by one."""
    return session_prefect.home / "first.db"


@pytest.fixture
def docker_registry(children: Children) -> DockerRegistryFactory:
    """Factory of real docker-registries."""
    return lambda **options: servers.start_docker_registry(children, **options)


@pytest.fixture(scope="module")
def module_docker_registry(module_children: Children) -> DockerRegistryFactory:
    """As `docker_registry`, for one module."""
    return lambda **options: servers.start_docker_registry(module_children, **options)


@pytest.fixture
def s3(children: Children, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """A real S3 server; the environment makes installations of ours keep their blobs there."""
    server = servers.start_s3(children)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture(scope="session")
def postgres_server(session_children: Children) -> PostgresServer:
    """A real PostgreSQL server that the tests of this run, or of this worker of it, share."""
    return make_postgres(session_children)


@pytest.fixture
def postgres(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new database, where the environment makes installations of ours keep their catalogue."""
    return use(postgres_server.new_database(), monkeypatch)


def _entrepot(children: Children) -> EntrepotFactory:
    def start(home: Path | None = None, **options: Any) -> EntrepotServer:
        home = home or new_home(children.folder / f"entrepot-{len(children.all)}", administrator=True)
        return servers.start_entrepot(children, home, **options)

    return start


@pytest.fixture
def entrepot_server(children: Children) -> EntrepotFactory:
    """Factory of registries of ours, each over a new home unless one is given.

    What is given and is not there is a first start.
    """
    return _entrepot(children)


@pytest.fixture(scope="module")
def module_entrepot_server(module_children: Children) -> EntrepotFactory:
    """As `entrepot_server`, for one module."""
    return _entrepot(module_children)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A certificate for loopback and the authority to trust for it."""
    return servers.make_certificate(tmp_path / "certificate")


@pytest.fixture
def tool() -> Callable[[str], str]:
    """Finds an executable, or skips (fails when ENTREPOT_REQUIRE_TOOLS=1)."""
    return servers.tool


@pytest.fixture
def skopeo(tmp_path: Path) -> Client:
    """skopeo, touching nothing of the user's."""
    return servers.make_skopeo(tmp_path / "skopeo")


@pytest.fixture
def podman() -> Iterator[Client]:
    """podman, with storage of its own on disk; in a short path, since it takes no run folder above 50 characters."""
    with tempfile.TemporaryDirectory(prefix="podman-", dir=scratch.disk(), ignore_cleanup_errors=True) as folder:
        yield servers.make_podman(Path(folder))


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder on a disk, for what a file system in memory does not do, or has not the room for."""
    with tempfile.TemporaryDirectory(prefix="entrepot-", dir=scratch.disk()) as folder:
        yield Path(folder)


@pytest.fixture
def gpg_home(tool: Callable[[str], str], tmp_path: Path) -> Iterator[Path]:
    """A key ring with a key of signer@example.org without a password, exported as `public.asc` and `secret.asc`."""
    with tempfile.TemporaryDirectory(prefix="gpg-") as folder:  # short: sockets are made in it
        home = Path(folder)
        gpg = [tool("gpg"), "--homedir", folder, "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
        subprocess.run(
            [*gpg, "--quick-gen-key", "signer@example.org", "rsa2048", "sign"], check=True, capture_output=True
        )
        exported = subprocess.run([*gpg, "--export", "--armor"], check=True, capture_output=True).stdout
        (home / "public.asc").write_bytes(exported)
        secret = subprocess.run([*gpg, "--export-secret-keys", "--armor"], check=True, capture_output=True).stdout
        (home / "secret.asc").write_bytes(secret)
        yield home
        subprocess.run(["gpgconf", "--homedir", folder, "--kill", "all"], check=True, capture_output=True)
