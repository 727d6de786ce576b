"""How fast manifests and blobs are served: both servers hold the same image and get the same load in turns."""

from collections.abc import Iterator
from statistics import median

from benchmarks.content import MANIFEST, digest_of, make_image, make_layer
from benchmarks.load import Load, client_of, requests_per_second
from benchmarks.rows import Row
from benchmarks.wire import Connection, Server, push_image

REPOSITORY = "bench/serving"


def serving_rows(ours: Server, peer: Server, *, rounds: int, seconds: float) -> Iterator[Row]:
    """Push one image to both, then measure each kind of request in alternating rounds."""
    small, large = make_layer("100 kB", 100_000), make_layer("50 MB", 50_000_000)
    image = make_image("v1", [small, large])
    for server in (ours, peer):
        with Connection(server) as connection:
            push_image(connection, REPOSITORY, image)
    base = f"/v2/{REPOSITORY}"
    missing = digest_of(b"nobody has this")
    kinds = [
        ("manifest GET by tag", 8.0, Load(f"{base}/manifests/{image.tag}", accept=MANIFEST, seconds=seconds)),
        ("manifest GET by digest", 8.0, Load(f"{base}/manifests/{image.digest}", accept=MANIFEST, seconds=seconds)),
        ("blob GET 100 kB", 5.0, Load(f"{base}/blobs/{small.digest}", seconds=seconds)),
        ("HEAD of a missing blob", 5.0, Load(f"{base}/blobs/{missing}", method="HEAD", status=404, seconds=seconds)),
    ]
    for name, goal, load in kinds:
        mine, theirs = _alternate(ours, peer, load, rounds)
        yield Row(name, "requests/s", mine, theirs, goal, note=f"{load.connections} connections, {client_of(load)}")
    load = Load(f"{base}/blobs/{large.digest}", connections=4, seconds=max(seconds, 2.0))
    mine, theirs = _alternate(ours, peer, load, rounds)
    size = len(large.data) / 1e9
    yield Row(
        "blob GET 50 MB",
        "GB/s",
        tuple(rate * size for rate in mine),
        tuple(rate * size for rate in theirs),
        1.0,
        note=f"{load.connections} connections, {client_of(load)}; median of one connection: "
        f"{_one_connection(ours, load, size):.2f} against {_one_connection(peer, load, size):.2f} GB/s",
    )


def _alternate(ours: Server, peer: Server, load: Load, rounds: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pairs = [(requests_per_second(ours, load), requests_per_second(peer, load)) for _ in range(rounds)]
    return tuple(mine for mine, _ in pairs), tuple(theirs for _, theirs in pairs)


def _one_connection(server: Server, load: Load, size: float) -> float:
    alone = Load(load.path, connections=1, seconds=load.seconds)
    return median(requests_per_second(server, alone) for _ in range(3)) * size
