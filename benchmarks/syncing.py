"""How fast a repository is mirrored, near and far: first and unchanged syncs, in turns with `skopeo sync` and `regsync`."""

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

from benchmarks.content import Image, series
from benchmarks.rows import Row
from benchmarks.stage import Prefect, Stage, Sync, sync_command, sync_env, timed_command, timed_sync
from benchmarks.wire import Connection, Server, push_image
from tests.servers import answers, free_port, tool

_CONCURRENCY = 8
"""Transfers at a time, ours by default, and half the requests; regsync is told the same. skopeo has no such setting for tags."""

_FIRST_GOAL = 2.0
"""How many times quicker than the quicker peer a first sync is to be where upstream is far."""

_NEAR_GOALS, _FAR_GOAL = {200: 1.2, 1000: 1.08}, 5.0
"""The same of an unchanged sync: near by the number of tags, and far."""


@dataclass
class _Times:
    """Seconds by tool, one figure per round."""

    first: dict[str, list[float]] = field(default_factory=dict)
    again: dict[str, list[float]] = field(default_factory=dict)

    def best(self, times: dict[str, list[float]]) -> tuple[str, tuple[float, ...]]:
        """The peer that is quicker by its median."""
        name = min(times, key=lambda one: median(times[one]))
        return name, tuple(times[name])


def syncing_rows(stage: Stage, *, rounds: int, sizes: Sequence[int], delays: Sequence[float]) -> Iterator[Row]:
    """Sync repositories of so many tags from an upstream that answers after so many seconds."""
    upstream, registry = stage.peer("upstream")
    for tags in sizes:
        base, own = (2_000_000, 200_000) if tags <= 200 else (200_000, 10_000)
        fill(upstream, f"bench/t{tags}", list(series(f"t{tags}", tags, bases=10, base_size=base, own_size=own)))
    prefect = stage.prefect()
    for delay in delays:
        host = relayed(stage, registry.port, delay) if delay else registry.host
        for tags in sizes:
            yield from _compared(stage, host, prefect, rounds, tags, delay)
    home = stage.folder / "sync-alone"
    source = f"{registry.host}/bench/t{sizes[0]}"
    alone = timed_command(stage, "sync", sync_command(source, "mirror"), sync_env(home, None))
    name = f"first sync of {sizes[0]} tags, without a Prefect server"
    yield Row(name, "s", (alone,), (), None, "less", "nothing records the run")


def fill(server: Server, repository: str, images: list[Image]) -> None:
    """Push images, four at a time."""

    def push(share: list[Image]) -> None:
        with Connection(server) as connection:
            for image in share:
                push_image(connection, repository, image)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(push, [images[number::4] for number in range(4)]))


def relayed(stage: Stage, target: int, delay: float) -> str:
    """host:port of a relay that makes each request to a port come `delay` seconds later."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.delay", str(port), str(target), str(delay)]
    child = stage.children.start("delay", command)
    child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/v2/"))
    return f"127.0.0.1:{port}"


def far(delay: float) -> str:
    """How a report says how far away an upstream is."""
    return f"{delay * 1000:.0f} ms away" if delay else "near"


def _compared(stage: Stage, host: str, prefect: Prefect, rounds: int, tags: int, delay: float) -> Iterator[Row]:
    source, times = f"{host}/bench/t{tags}", _Times()
    ours: list[Sync] = []
    again: list[Sync] = []
    for number in range(rounds):
        home = stage.folder / f"sync-{tags}-{delay}-{number}"
        ours.append(timed_sync(stage, source, "mirror", home, prefect))
        again.append(timed_sync(stage, source, "mirror", home, prefect))
        for name, run in (("skopeo sync", _skopeo), ("regsync", _regsync)):
            _, destination = stage.peer(f"destination-{tags}-{delay}-{number}-{name[:3]}")
            for kept in (times.first, times.again):
                kept.setdefault(name, []).append(run(stage, source, destination.host))
            destination.child.stop()
    for what, mine, theirs, goal in (
        ("first", ours, times.first, _FIRST_GOAL if delay else None),
        ("unchanged", again, times.again, _FAR_GOAL if delay else _NEAR_GOALS.get(tags)),
    ):
        peer, figures = times.best(theirs)
        others = ", ".join(f"{name} {median(some):.1f} s" for name, some in theirs.items())
        name, note = (
            f"{what} sync of {tags:,} tags, upstream {far(delay)}",
            f"peer: {peer} to docker-registry ({others})",
        )
        inside, whole = tuple(sync.inside for sync in mine), tuple(sync.whole for sync in mine)
        yield Row(f"{name}, inside a running flow", "s", inside, figures, goal, "less", note)
        yield Row(f"{name}, whole command", "s", whole, figures, None, "less", "the same peer")


def _skopeo(stage: Stage, source: str, destination: str) -> float:
    client = stage.skopeo()
    options = ["--src", "docker", "--src-tls-verify=false", "--dest", "docker", "--dest-tls-verify=false"]
    command = [client.binary, *client.options, "sync", *options, source, destination]
    return timed_command(stage, "skopeo-sync", command, dict(client.env))


def _regsync(stage: Stage, source: str, destination: str) -> float:
    host, _, repository = source.partition("/")
    settings = {
        "version": 1,
        "creds": [
            {"registry": one, "tls": "disabled", "reqConcurrent": 2 * _CONCURRENCY, "reqPerSec": 0}
            for one in (host, destination)
        ],
        "defaults": {"parallel": _CONCURRENCY},
        "sync": [{"source": source, "target": f"{destination}/{repository}", "type": "repository"}],
    }
    file = stage.folder / "regsync.yml"
    file.write_text(json.dumps(settings))  # JSON is YAML
    return timed_command(stage, "regsync", [tool("regsync"), "once", "--config", str(file)], {})
