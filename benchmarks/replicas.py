"""What it costs to share the catalogue: the same registry with its catalogue in PostgreSQL, beside the embedded default."""

import threading
import time
from collections.abc import Iterator

from benchmarks.content import MANIFEST, Image, make_image, make_layer
from benchmarks.load import Load, requests_per_second
from benchmarks.rows import Row
from benchmarks.stage import Stage
from benchmarks.wire import Connection, Server, push_image
from tests.homes import new_home
from tests.postgresql import environment, make_postgres

_REPOSITORY = "bench/replicas"


def replica_rows(stage: Stage, *, rounds: int, seconds: float, images: int) -> Iterator[Row]:
    """Pull by tag, which PostgreSQL confirms, and by digest; then push by eight at once, to one replica and to two."""
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
    yield from _pushes([first], [embedded], "one replica", images, rounds)
    yield from _pushes([first, second], [embedded], "two replicas", images, rounds)


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
