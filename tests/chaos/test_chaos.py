"""Whatever part dies or stands still, what was acknowledged stays, and no wrong byte is served.

Clients push and pull while the parts fail in turn. In the long form, two workers sync an upstream besides, and fail too.

`TEST_CHAOS_ROUNDS` sets how often each fault comes, `TEST_CHAOS_PAUSE` for how many seconds; `make chaos` makes it long, and cuts
networks too. `TEST_CHAOS_FAULTS` is a part of the names of those faults that come alone.
"""

import os
import random
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.chaos.clients import Clients
from tests.chaos.cluster import Cluster, Fault, Recovery, faults_of, seconds_until, start_cluster
from tests.chaos.syncs import REPOSITORIES, Syncs, start_site
from tests.replicas.pushes import push_small_image
from tests.servers import Children

ROUNDS = int(os.environ.get("TEST_CHAOS_ROUNDS", "1"))
PAUSE = float(os.environ.get("TEST_CHAOS_PAUSE", "1"))
ONLY = os.environ.get("TEST_CHAOS_FAULTS", "")
"""A part of the names of those faults that come alone."""
IS_LONG = ROUNDS > 1 or bool(ONLY)
"""Whether networks are cut too."""
CALM = 25.0
"""Seconds after the end of a fault within which everything works again."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_fault_loses_what_was_acknowledged_or_serves_what_is_wrong(
    children: Children, tmp_path: Path, prefect_database: Path
) -> None:
    chance = random.Random(7)
    with ExitStack() as links:
        cluster = start_cluster(children, tmp_path, links=links if IS_LONG else None)
        if not IS_LONG:
            _withstand(cluster, None, chance)
            return
        site = start_site(children, tmp_path, cluster.env, prefect_database)
        site.await_workers()
        syncs = Syncs(site, [one.url for one in cluster.replicas], ("admin", cluster.password))
        syncs.start()
        try:
            _withstand(cluster, syncs, chance)
        finally:
            promises = syncs.stop()
        print(
            f"{promises.ended_well} syncs ended well, {len(promises.failed)} failed, {promises.pulls} pulls",
            file=sys.stderr,
        )
        assert syncs.sync() == 0, promises.failed[-1]
        assert promises.wrong == []
        assert promises.pulls > 20
        assert len(promises.versions) > REPOSITORIES  # some before the last one
        syncs.check_mirrors()
        syncs.check_versions(cluster.env, tmp_path / "command")


def _withstand(cluster: Cluster, syncs: Syncs | None, chance: random.Random) -> None:
    auth = ("admin", cluster.password)
    clients = Clients([one.url for one in cluster.replicas], auth, 7)
    recoveries: list[Recovery] = []
    quiet: list[tuple[float, float]] = []
    try:
        for _ in range(ROUNDS):
            faults = faults_of(cluster, pause=PAUSE, is_short=not IS_LONG)
            faults += syncs.faults(pause=PAUSE) if syncs else []
            faults = [one for one in faults if ONLY in one.name]
            chance.shuffle(faults)
            for fault in faults:
                recoveries.append(_suffer(cluster, clients, fault, len(recoveries)))
                begun = time.monotonic()
                time.sleep(1.0)  # calm, in which nothing may be refused
                quiet.append((begun, time.monotonic()))
    finally:
        promises = clients.stop()
    for one in recoveries:
        print(f"{one.fault:45} push {one.push:6.2f} s  pull {one.pull:6.2f} s", file=sys.stderr)
    print(f"{len(promises.tags)} pushes, {promises.pulls} pulls, {len(promises.refused)} refused", file=sys.stderr)

    assert promises.wrong == []
    assert len(promises.tags) > 20
    assert promises.pulls > 100
    for server in cluster.replicas:
        with clients.client(server.url) as client:
            for tag in promises.tags:
                clients.check(client, tag, is_certain=True)
    assert promises.wrong == []
    in_calm = [text for at, text in promises.refused if any(begun < at < end for begun, end in quiet)]
    assert in_calm == []


def _suffer(cluster: Cluster, clients: Clients, fault: Fault, number: int) -> Recovery:
    """Have a fault begin and end; return how long after it every replica took pushes and pulls again."""
    fault.begin()
    time.sleep(fault.seconds)
    fault.end()
    recovery, begun = Recovery(fault.name), time.monotonic()
    for place, server in enumerate(cluster.replicas):
        tag = f"after-{number}-{place}"
        seconds_until(lambda url=server.url, tag=tag: _pushes(clients, url, tag), CALM)  # type: ignore[misc]
    recovery.push = time.monotonic() - begun
    for place, server in enumerate(cluster.replicas):
        with clients.client(server.url) as client:
            tag = f"after-{number}-{place}"
            seconds_until(lambda client=client, tag=tag: _pulls(client, tag), CALM)  # type: ignore[misc]
    recovery.pull = time.monotonic() - begun
    return recovery


def _pushes(clients: Clients, url: str, tag: str) -> bool:
    try:
        with clients.client(url) as client:
            push_small_image(client, "team/recovery", tag, tag)
    except (httpx.HTTPError, AssertionError):
        return False
    return True


def _pulls(client: httpx.Client, tag: str) -> bool:
    try:
        return client.get(f"/v2/team/recovery/manifests/{tag}").status_code == 200
    except httpx.HTTPError:
        return False
