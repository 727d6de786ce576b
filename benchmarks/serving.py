"""How fast manifests and blobs are served: the servers hold the same image and get the same load in turns."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.content import MANIFEST, Blob, Image, digest_of, make_image, make_layer
from benchmarks.load import Load, client_of, requests_per_second
from benchmarks.nginx import start_nginx
from benchmarks.rows import Row
from benchmarks.stage import Stage
from benchmarks.wire import Connection, Server, fetch_token, push_image
from benchmarks.zot import start_zot

REPOSITORY = "bench/serving"
BASE = f"/v2/{REPOSITORY}"
SIZES = {"10 kB": 10_000, "100 kB": 100_000, "1 MB": 1_000_000, "50 MB": 50_000_000, "1 GB": 1_000_000_000}
AGAINST_NGINX = {"100 kB": 0.4, "1 MB": 0.8, "50 MB": 0.8, "1 GB": 0.8}


def serving_rows(stage: Stage, *, rounds: int, seconds: float, largest: int) -> Iterator[Row]:
    """Push one image to all, then measure each kind of request in alternating rounds."""
    (ours, mine), (peer, theirs) = stage.ours("serving"), stage.peer("serving-peer")
    layers = {name: make_layer(name, size) for name, size in SIZES.items() if size <= largest}
    image = make_image("v1", list(layers.values()))
    for server in (ours, peer):
        with Connection(server) as connection:
            push_image(connection, REPOSITORY, image)
    bearer = replace(ours, token=fetch_token(ours, f"repository:{REPOSITORY}:pull"))
    by_tag = Load(f"{BASE}/manifests/{image.tag}", accept=MANIFEST, seconds=seconds)
    yield from _manifests(ours, bearer, peer, by_tag, image.digest, rounds)
    yield from _against_zot(stage, ours, image, seconds, rounds)
    yield from _blobs(ours, peer, layers, rounds, seconds)
    nginx, third = start_nginx(stage.children, mine.home / "blobs")
    yield from _files(ours, nginx, mine.home / "blobs", layers, rounds, seconds)
    for child in (third, mine.child):
        child.stop()
    yield from _two_processes(stage, mine.home, by_tag, rounds)
    theirs.child.stop()


def _manifests(ours: Server, bearer: Server, peer: Server, by_tag: Load, digest: str, rounds: int) -> Iterator[Row]:
    kinds = [
        *(
            (f"manifest GET by tag, {count} at once", goal, replace(by_tag, connections=count))
            for count, goal in ((1, 8.0), (16, 10.0), (64, 10.0))
        ),
        *(
            (f"manifest HEAD by tag, {count} at once", None, replace(by_tag, method="HEAD", connections=count))
            for count in (1, 16, 64)
        ),
        ("manifest GET by digest", 10.0, replace(by_tag, path=f"{BASE}/manifests/{digest}")),
        ("HEAD of a missing blob", 10.0, _missing(by_tag.seconds)),
    ]
    for name, goal, load in kinds:
        mine, theirs = _alternate((ours, load), (peer, load), rounds)
        yield Row(name, "requests/s", mine, theirs, goal, note=f"{load.connections} connections, {client_of(load)}")
    mine, theirs = _alternate((bearer, by_tag), (peer, by_tag), rounds)
    yield Row(
        "manifest GET, bearer token",
        "requests/s",
        mine,
        theirs,
        10.0,
        note="the other rows log in by Basic, the peer has no logins",
    )


def _missing(seconds: float) -> Load:
    """The request of every push for each blob that the registry does not have yet."""
    return Load(f"{BASE}/blobs/{digest_of(b'nobody has this')}", method="HEAD", status=404, seconds=seconds)


def _against_zot(stage: Stage, ours: Server, image: Image, seconds: float, rounds: int) -> Iterator[Row]:
    """The rows against zot; none, said by name, where there is no zot."""
    name, started = "HEAD of a missing blob, zot", start_zot(stage.children, "serving-zot")
    if started is None:
        print(f"no row {name!r}: `zot` is not on PATH", file=sys.stderr)
        return
    zot, child = started
    with Connection(zot) as connection:
        push_image(connection, REPOSITORY, image)
    load = _missing(seconds)
    mine, theirs = _alternate((ours, load), (zot, load), rounds)
    yield Row(name, "requests/s", mine, theirs, 1.2, note=f"{load.connections} connections, {client_of(load)}")
    child.stop()


def _blobs(ours: Server, peer: Server, layers: dict[str, Blob], rounds: int, seconds: float) -> Iterator[Row]:
    for name, layer in layers.items():
        load = _load_of(layer, f"{BASE}/blobs/{layer.digest}", seconds)
        mine, theirs = _alternate((ours, load), (peer, load), rounds)
        size = len(layer.data) / 1e9
        note = f"{load.connections} connections, {client_of(load)}"
        if len(layer.data) > 10_000_000:
            alone = f"{_one_connection(ours, load, size):.2f} against {_one_connection(peer, load, size):.2f} GB/s"
            note += f"; median of one connection: {alone}"
        yield Row(f"blob GET {name}", "GB/s", _times(mine, size), _times(theirs, size), 1.0, note=note)
    name, layer = next((name, layer) for name, layer in layers.items() if len(layer.data) >= 40_000_000)
    load = Load(f"{BASE}/blobs/{layer.digest}", status=206, range="bytes=20000000-20999999", seconds=seconds)
    mine, theirs = _alternate((ours, load), (peer, load), rounds)
    yield Row(f"blob GET, 1 MB in the middle of {name}", "requests/s", mine, theirs, 1.0, note=client_of(load))


def _files(
    ours: Server, nginx: Server, blobs: Path, layers: dict[str, Blob], rounds: int, seconds: float
) -> Iterator[Row]:
    for name, goal in AGAINST_NGINX.items():
        if name not in layers:
            continue
        layer = layers[name]
        (file,) = blobs.rglob(layer.digest.removeprefix("sha256:"))
        mine, theirs = _alternate(
            (ours, _load_of(layer, f"{BASE}/blobs/{layer.digest}", seconds)),
            (nginx, _load_of(layer, f"/{file.relative_to(blobs)}", seconds)),
            rounds,
        )
        size = len(layer.data) / 1e9
        note = "peer: nginx with one worker and sendfile, which checks no rights"
        yield Row(f"blob GET {name}, nginx", "GB/s", _times(mine, size), _times(theirs, size), goal, note=note)


def _two_processes(stage: Stage, home: Path, load: Load, rounds: int) -> Iterator[Row]:
    many = replace(load, connections=64)
    (one, first), (two, second) = (
        stage.ours(home.name),
        stage.ours(home.name, env={"ENTREPOT_SERVER_PROCESSES": "2"}),
    )
    mine, theirs = _alternate((two, many), (one, many), rounds)
    note = "peer: one process of ours; the load takes a core of the two"
    yield Row("manifest GET, two processes", "requests/s", mine, theirs, note=note)
    first.child.stop()
    second.child.stop()


def _load_of(layer: Blob, path: str, seconds: float) -> Load:
    size = len(layer.data)
    if size > 500_000_000:  # so that a round holds more than one or two of them
        return Load(path, connections=4, seconds=max(seconds * 4, 8.0))
    large = size > 10_000_000
    return Load(path, connections=4 if large else 16, seconds=max(seconds, 2.0) if large else seconds)


def _times(rates: Sequence[float], factor: float) -> tuple[float, ...]:
    return tuple(rate * factor for rate in rates)


def _alternate(
    ours: tuple[Server, Load], peer: tuple[Server, Load], rounds: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pairs = [(requests_per_second(*ours), requests_per_second(*peer)) for _ in range(rounds)]
    return tuple(mine for mine, _ in pairs), tuple(theirs for _, theirs in pairs)


def _one_connection(server: Server, load: Load, size: float) -> float:
    alone = replace(load, connections=1)
    return median(requests_per_second(server, alone) for _ in range(3)) * size
