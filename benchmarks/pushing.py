"""How fast small images are pushed: one after the other, and many at once; new content and a new repository each time."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.content import Image, make_image, make_layer
from benchmarks.rows import Row
from benchmarks.wire import Connection, Server, push_image

IMAGES = 64
AT_ONCE = (1, 8, 32)
GOALS: Mapping[str, Mapping[int, float]] = {
    "docker-registry": {1: 1.5, 8: 1.5, 32: 1.5},
    "zot": {1: 0.8, 8: 1.5, 32: 3.0},
}
_SYNCED: Mapping[str, str] = {
    "docker-registry": "the bytes of some fifty files an image, and no folder",
    "zot": "its index, some six times an image, and no content",
}
"""What a peer syncs to disk before it answers, as `strace -e fsync,fdatasync` showed of 2.8.2 and of 2.1.9."""
_DURABILITY = "durable here before the 201 (bytes, name and record synced); {} syncs {}"
_numbers = itertools.count()


def pushing_rows(ours: Server, peers: Sequence[Server], *, rounds: int) -> Iterator[Row]:
    """Time the push of IMAGES images (a config, two layers of 20 kB) to each server in turns."""
    for at_once in AT_ONCE:
        mine: list[float] = []
        theirs: dict[str, list[float]] = {peer.name: [] for peer in peers}
        for _ in range(rounds):
            mine.append(_push_all(ours, _new_images(), at_once))
            for peer in peers:
                theirs[peer.name].append(_push_all(peer, _new_images(), at_once))
        for name, rates in theirs.items():
            yield Row(
                f"push {IMAGES} small images, {f'{at_once} at once' if at_once > 1 else 'serial'}, {name}",
                "images/s",
                tuple(mine),
                tuple(rates),
                GOALS[name][at_once],
                note=f"raw client: HEAD, POST, PATCH, PUT per blob; {_DURABILITY.format(name, _SYNCED[name])}",
            )


def _new_images() -> list[Image]:
    batch = next(_numbers)
    return [
        make_image(f"v{number}", [make_layer(f"push {batch} {number} {part}", 20_000) for part in range(2)])
        for number in range(IMAGES)
    ]


def _push_all(server: Server, images: Sequence[Image], at_once: int) -> float:
    """Images per second."""
    repository = f"bench/push-{next(_numbers)}"
    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(
            pool.map(lambda share: _push_share(server, repository, share), [images[n::at_once] for n in range(at_once)])
        )
    return len(images) / (time.perf_counter() - start)


def _push_share(server: Server, repository: str, images: Sequence[Image]) -> None:
    with Connection(server) as connection:
        for image in images:
            push_image(connection, repository, image)
