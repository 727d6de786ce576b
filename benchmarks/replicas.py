"""What it costs to share the catalogue: the same registry with its catalogue in PostgreSQL, beside the embedded default."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.committing import stage_commit
from benchmarks.content import MANIFEST, Image, make_image, make_layer
from benchmarks.load import Load, requests_per_second
from benchmarks.rows import Row
from benchmarks.stage import Stage
from benchmarks.wire import Connection, Server, push_image
from catalog.catalog import Catalog
from catalog.settings import read_settings
from catalog.versions.changes import Commit
from tests.homes import new_home
from tests.postgresql import PostgresServer, environment, make_postgres

_REPOSITORY = "bench/replicas"


def replica_rows(stage: Stage, *, rounds: int, seconds: float, images: int) -> Iterator[Row]:
    """Pull by tag, which PostgreSQL confirms, and by digest, from several processes too; push and commit by eight at once."""
    server = make_postgres(stage.children, durable=True)
    shared = environment(server.new_database())
    embedded, _ = stage.ours("embedded")
    first, started = stage.ours("replica", env=shared)
    home = new_home(stage.folder / "replica-2")
    (home / "admin-password").write_text(first.password)  # the first start of all has made it
    second, _ = stage.ours(home.name, env={**shared, "ENTREPOT_STORAGE": f"file:{started.home / 'blobs'}"})
    image = make_image("v1", [make_layer("replicas", 10_000)])
    for one in (embedded, first):
        with Connection(one) as connection:
            push_image(connection, _REPOSITORY, image)
    base = f"/v2/{_REPOSITORY}/manifests"
    for what, reference, goal in (("tag", image.tag, 0.8), ("digest", image.digest, 0.9)):
        for count in (1, 16, 64):
            load = Load(f"{base}/{reference}", accept=MANIFEST, connections=count, seconds=seconds)
            mine, theirs = [], []
            for _ in range(rounds):
                mine.append(requests_per_second(first, load))
                theirs.append(requests_per_second(embedded, load))
            yield Row(
                f"manifest by {what} with PostgreSQL, {count} at once",
                "requests/s",
                tuple(mine),
                tuple(theirs),
                goal if count == 64 else None,
                note="peer: the embedded default",
            )
    pulls = [
        Load(f"{base}/{reference}", accept=MANIFEST, connections=64, seconds=seconds)
        for reference in (image.tag, image.digest)
    ]
    yield from _processes(stage, started.home, shared, pulls, rounds)
    yield from _pushes([first], [embedded], "one replica", images, rounds)
    yield from _pushes([first, second], [embedded], "two replicas", images, rounds)
    yield from writer_rows(stage.folder, server, rounds=rounds, commits=images)


def _processes(
    stage: Stage, home: Path, shared: Mapping[str, str], pulls: Sequence[Load], rounds: int
) -> Iterator[Row]:
    """Pull from one registry of 1, 2 and 4 processes on one socket, one after the other: PostgreSQL takes 100 connections."""
    rates: dict[tuple[int, str], list[float]] = {}
    for count in (1, 2, 4):
        server, started = stage.ours(home.name, env={**shared, "ENTREPOT_SERVER_PROCESSES": str(count)})
        for what, load in zip(("tag", "digest"), pulls, strict=True):
            requests_per_second(server, replace(load, seconds=5.0))  # each process is warm then
            rates[count, what] = [requests_per_second(server, load) for _ in range(rounds)]
        started.child.stop()
    for (count, what), found in rates.items():
        name = f"manifest by {what} with PostgreSQL, 64 at once, {_counted(count, 'process', 'processes')}"
        peer = tuple(rates[1, what]) if count > 1 else ()
        yield Row(name, "requests/s", tuple(found), peer, note="peer: one process; the load takes a core")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def writer_rows(folder: Path, server: PostgresServer, *, rounds: int, commits: int) -> Iterator[Row]:
    """Commit versions by one writer and by eight of one process, which are grouped; their content was staged before."""
    ours = {"catalog": server.new_database(), "catalog_password": server.password}
    with (
        Catalog(read_settings(home=folder / "writers", **ours)) as shared,
        Catalog(read_settings(home=folder / "writers-embedded")) as embedded,
    ):
        for count in (1, 8):
            rates: dict[str, list[float]] = {"shared": [], "embedded": []}
            groups: list[float] = []
            for number in range(rounds):
                for name, catalog in (("shared", shared), ("embedded", embedded)):
                    made = [_stage(catalog, f"{count}-{number}-{turn}", turn % count) for turn in range(commits)]
                    before = sum(catalog.commits.ways.values())
                    rates[name].append(commits / _commit_all(catalog, made, count))
                    if name == "shared":
                        groups.append(commits / (sum(catalog.commits.ways.values()) - before))
            yield Row(
                f"commits in PostgreSQL, {_counted(count, 'writer', 'writers')}",
                "versions/s",
                tuple(rates["shared"]),
                tuple(rates["embedded"]),
                note=f"peer: the embedded default; {median(groups):.1f} versions in a transaction of ours",
            )


def _stage(catalog: Catalog, text: str, place: int) -> Commit:
    return stage_commit(
        catalog, f"{_REPOSITORY}-writer-{place}", make_image(text, [make_layer(f"writer {text}", 1_000)])
    )


def _commit_all(catalog: Catalog, commits: Sequence[Commit], writers: int) -> float:
    """Commit by so many threads at once; return the seconds that it took."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(catalog.commits.commit, commits))
    return time.perf_counter() - begun


def _pushes(ours: list[Server], peers: list[Server], name: str, images: int, rounds: int) -> Iterator[Row]:
    mine: list[float] = []
    theirs: list[float] = []
    for number in range(rounds):
        for servers, rates in ((ours, mine), (peers, theirs)):
            made = [
                make_image(
                    f"{name[:3]}-{number}-{turn}", [make_layer(f"{name} {number} {turn} {servers[0].port}", 1_000)]
                )
                for turn in range(images)
            ]
            rates.append(images / _push_all(servers, made))
    yield Row(
        f"small images, 8 at once, {name}", "images/s", tuple(mine), tuple(theirs), note="peer: the embedded default"
    )


def _push_all(servers: list[Server], images: list[Image]) -> float:
    """Push by eight clients in turns to the servers; return the seconds that it took."""

    def push(place: int) -> None:
        with Connection(servers[place % len(servers)]) as connection:
            for image in images[place::8]:
                push_image(connection, f"{_REPOSITORY}-{place}", image)

    threads = [threading.Thread(target=push, args=(place,)) for place in range(8)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun
