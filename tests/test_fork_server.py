"""Forked processes are as those that are started: output, exit codes, signals, environment, and Prefect's settings."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fork_server
from tests.fork_server import ForkServer
from tests.servers import ROOT, Child, Children, forked_from, forks, run_command

PROBE = """
import json, os, sys
if "prefect" in sys.argv:
    assert "prefect" not in sys.modules
    import logging
    assert not logging.getLogger().handlers
    from prefect.main import get_client
    from prefect.settings import get_current_settings
    (handler,) = logging.getLogger().handlers
    print(get_current_settings().api.url, handler.level)
elif "wait" in sys.argv:
    print("waits", flush=True)
    sys.stdin.read()
    import time
    time.sleep(60)
else:
    own = [__name__, sys.argv[1:], os.getcwd(), os.environ.get("OF_THE_TEST"), sys.stdin.read(), len(os.listdir("/proc/self/fd"))]
    print(json.dumps(own))
    print("told", file=sys.stderr)
    import atexit
    atexit.register(lambda: print("left"))
    raise SystemExit(3)
"""


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A command of our own that is forked."""
    (tmp_path / "fork_probe.py").write_text(PROBE)
    monkeypatch.setattr(fork_server, "MODULES", frozenset({"fork_probe"}))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with forked_from(ForkServer(tmp_path / "log")):
        yield [sys.executable, "-m", "fork_probe"]


def wait_until_it_waits(child: Child) -> None:
    child.wait_ready(lambda: "waits" in child.output())


def test_a_forked_command_is_as_one_that_is_started(probe: list[str]) -> None:
    assert forks(probe, os.environ) is not None
    assert forks(probe, {**os.environ, "PYTHONHASHSEED": "1"}) is None
    given = [*probe, "one", "two"]
    started = subprocess.run(
        given,
        input="text",
        capture_output=True,
        text=True,
        env={**os.environ, "OF_THE_TEST": "1"},
        cwd=ROOT,
        check=False,
    )
    forked = run_command(given, text="text", env={"OF_THE_TEST": "1"})
    assert (forked.returncode, forked.stdout, forked.stderr) == (3, started.stdout, started.stderr)
    assert json.loads(forked.stdout.splitlines()[0])[:2] == ["__main__", ["one", "two"]]


def test_prefect_reads_the_settings_of_the_process_that_imports_it(probe: list[str]) -> None:
    for number in range(len(fork_server.STAGES) + 1):
        url, level = f"http://127.0.0.1:{number + 1}/api", logging.CRITICAL if number % 2 else logging.ERROR
        env = {"PREFECT_API_URL": url, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": logging.getLevelName(level)}
        done = run_command([*probe, "prefect"], env=env)
        assert done.stdout.split() == [url, str(level)], done.stderr


def test_a_forked_command_leads_its_group_and_ends_by_signals(probe: list[str], children: Children) -> None:
    for number, code in (
        (signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGKILL, -signal.SIGKILL),
        (signal.SIGINT, -signal.SIGINT),
    ):
        child = children.start("probe", [*probe, "wait"])
        wait_until_it_waits(child)
        assert os.getpgid(child.pid) == os.getsid(child.pid) == child.pid != os.getpid()
        child.signal(number)
        assert child.wait() == code
        assert not child.running


def test_a_forked_command_outlives_its_server(probe: list[str], tmp_path: Path, children: Children) -> None:
    with forked_from(ForkServer(tmp_path / "other")):
        child = children.start("probe", [*probe, "wait"])
        wait_until_it_waits(child)
    os.kill(child.pid, 0)
    child.kill()
    assert not child.running
