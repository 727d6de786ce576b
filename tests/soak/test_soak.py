"""Mixed load for a long time, with faults: what a serving process holds does not grow, and each failure is explained.

`make soak` runs it for half an hour; a short form runs with all other tests. TEST_SOAK_ON=postgresql has the catalogue in
PostgreSQL and the blobs in S3.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.chaos.cluster import end_sessions
from tests.chaos.partition import Link
from tests.cli.commands import Entrepot
from tests.homes import new_home
from tests.postgresql import environment, make_postgres
from tests.servers import Children, EntrepotServer, start_entrepot, start_s3
from tests.soak.failures import failure_lines, fault_at
from tests.soak.load import Load, Seen
from tests.soak.samples import MEGABYTE, Growth, Sampler, growth_of
from tests.upstream import Upstream

SECONDS = float(os.environ.get("TEST_SOAK_SECONDS", "40"))
IS_SHARED = os.environ.get("TEST_SOAK_ON", "") == "postgresql"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


@dataclass
class Site:
    """A registry with all that it needs, and the faults that its load meets: each begins something, and returns its end."""

    server: EntrepotServer
    upstream: Upstream
    entrepot: Entrepot
    faults: list[tuple[str, Callable[[], Callable[[], object]]]]


@pytest.fixture
def site(children: Children, tmp_path: Path) -> Iterator[Site]:
    store = MemoryStore("team/app")
    for number in range(3):
        store.put_tag(f"v{number}", pack_image(store, [{"file": f"v{number}"}]).digest)
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream({"team/app": store}))
        env, faults = _shared(children, stack) if IS_SHARED else ({}, [])
        faults.append(("upstream answers 503", lambda: _fail(upstream)))
        home = new_home(tmp_path / "entrepot")
        logs = {"ENTREPOT_ACCESS_LOG": "json", "ENTREPOT_LOG_FORMAT": "json"}
        server = start_entrepot(children, home, env={**env, **logs}, anew=True)
        entrepot = Entrepot(home, children, env)
        made = entrepot("distribution", "create", "cache", "--remote", upstream.host)
        assert made.returncode == 0, made.stderr
        yield Site(server, upstream, entrepot, faults)


def _shared(
    children: Children, stack: ExitStack
) -> tuple[dict[str, str], list[tuple[str, Callable[[], Callable[[], object]]]]]:
    database, store = make_postgres(children), start_s3(children)
    to_database, to_store = stack.enter_context(Link(database.port)), stack.enter_context(Link(store.port))
    env = {**environment(database.new_database()), **store.env}
    env["ENTREPOT_CATALOG"] = env["ENTREPOT_CATALOG"].replace(f":{database.port}/", f":{to_database.port}/")
    env["ENTREPOT_S3_ENDPOINT"] = env["ENTREPOT_S3_ENDPOINT"].replace(f":{store.port}", f":{to_store.port}")

    def cut(link: Link) -> Callable[[], object]:
        link.cut()
        return link.mend

    def end_all() -> Callable[[], object]:
        end_sessions(database)
        return lambda: None

    return env, [
        ("all sessions are ended", end_all),
        ("the database is cut off", lambda: cut(to_database)),
        ("the store is cut off", lambda: cut(to_store)),
    ]


def _fail(upstream: Upstream) -> Callable[[], object]:
    upstream.fail(503)
    return upstream.faults.clear


def test_what_a_process_holds_does_not_grow_and_failures_are_explained(site: Site) -> None:
    source = f"{site.upstream.host}/team/app"

    def sync() -> None:
        done = site.entrepot("sync", source, "soak/mirror", "--mirror")
        assert done.returncode in (0, 1), done.stderr
        time.sleep(1)

    def maintain() -> None:
        done = site.entrepot("maintain")
        assert done.returncode in (0, 1), done.stderr
        time.sleep(min(60.0, SECONDS / 4))

    work = [("sync", sync), ("maintain", maintain)]
    load = Load(site.server.url, site.server.auth, cached="cache/team/app", work=work)
    faulty: list[tuple[float, float, str]] = []
    try:
        with Sampler(site.server.child.pid, tell=_tell) as sampler:
            _meet_faults(site, faulty)
    finally:
        seen = load.stop()
    growth = growth_of(sampler.samples)
    _tell(f"{SECONDS:.0f} s: {dict(seen.done)}; {len(seen.failed)} failed, {len(seen.lost)} lost; {growth}")
    for line in failure_lines(seen, faulty):
        _tell(line)
    _check(site, seen, faulty, growth)


def _tell(line: str) -> None:
    """Print it at once: whoever runs half an hour of this sees how it goes."""
    print(f"soak: {line}", flush=True)


def _meet_faults(site: Site, faulty: list[tuple[float, float, str]]) -> None:
    """Have one fault after the other until time is up; they end well before, so that the last samples are of quiet ones."""
    started = time.monotonic()
    until = started + SECONDS
    length = min(15.0, SECONDS / 20)
    turn = 0
    while (left := until - time.monotonic()) > 0:
        if left > 3 * length:
            name, begin = site.faults[turn % len(site.faults)]
            begun = time.monotonic()
            _tell(f"{begun - started:.0f} s: {name}, for {length:.0f} s")
            end = begin()
            time.sleep(length)
            end()
            faulty.append((begun, time.monotonic(), name))
            turn += 1
        time.sleep(min(left, 3 * length))


def _check(site: Site, seen: Seen, faulty: list[tuple[float, float, str]], growth: Growth) -> None:
    assert seen.wrong == []
    for kind in ("push", "pull", "cached pull", "ask", "tidy", "break off", "sync", "maintain"):
        assert seen.done[kind] > 0, kind
    log = site.server.child.output()
    assert "Traceback" not in log
    unexplained = {name: told for name, told in seen.failed.items() if f'"{name}"' not in log}
    assert unexplained == {}, "no line of the access log has them"
    ours = {name: told for name, told in seen.failed.items() if "/cache/" not in told[2]}
    silent = {name: told for name, told in ours.items() if f"reference={name}" not in log}
    assert silent == {}, "no line of the log says why"
    early = {name: told for name, told in ours.items() if fault_at(told[0], faulty) is None}
    assert early == {}, "they failed without a fault"
    assert all(fault_at(at, faulty) is not None for at, _told in seen.lost), seen.lost
    assert _failures_counted(site) >= len(seen.failed)
    assert growth.descriptors <= 5, growth
    assert growth.threads <= 5, growth
    if SECONDS >= 600:
        assert growth.memory_per_minute <= 0.5 * MEGABYTE, growth
    else:  # all of it is warm-up
        assert growth.memory <= 64 * MEGABYTE, growth


def _failures_counted(site: Site) -> int:
    """How many requests the metrics say have failed by the server's fault."""
    with httpx.Client(base_url=site.server.url, auth=site.server.auth, trust_env=False, timeout=30) as client:
        text = client.get("/metrics").text
    counts = re.findall(
        r'^entrepot_requests_total\{.*status="5\d\d".*\} (\S+)$', text, re.MULTILINE
    )  # routes have braces
    return int(sum(map(float, counts)))
