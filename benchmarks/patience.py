"""Whether clients that dawdle hold others up: how long pulls take alone, and beside many that never end their requests."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import quantiles

from benchmarks.content import MANIFEST, make_image, make_layer
from benchmarks.rows import Row
from benchmarks.stage import Stage
from benchmarks.wire import Connection, Server, location_of, push_image, raw_request

REPOSITORY = "bench/patience"
GOAL = 100.0


def patience_rows(stage: Stage, *, stalled: int, pulls: int) -> Iterator[Row]:
    """Pull an image's manifest and its layer of 100 kB, alone and beside stalled heads and bodies; the 99th percentile."""
    ours, mine = stage.ours("patience")
    image = make_image("v1", [make_layer("patience", 100_000)])
    with Connection(ours) as connection:
        push_image(connection, REPOSITORY, image)
        paths = [f"/v2/{REPOSITORY}/manifests/v1", f"/v2/{REPOSITORY}/blobs/{image.blobs[1].digest}"]
        alone = _p99(connection, paths, pulls)
        with ExitStack() as stack:
            for number in range(stalled):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", ours.port)))
                sock.sendall(
                    _stalled_body(ours, connection) if number % 2 else b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: "
                )
            beside = _p99(connection, paths, pulls)
    mine.child.stop()
    note = f"alone: {alone:.1f} ms; half of the others stop within the head of a request, half within an upload's body"
    yield Row(f"p99 of a pull beside {stalled} stalled clients", "ms", (beside,), goal=GOAL, better="less", note=note)


def _stalled_body(server: Server, connection: Connection) -> bytes:
    """The beginning of an upload."""
    opened = connection.expect(202, "POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    return raw_request(server, "PATCH", location_of(opened), length=1_000_000) + b"x" * 1000


def _p99(connection: Connection, paths: list[str], pulls: int) -> float:
    """Milliseconds."""
    taken = []
    for number in range(pulls):
        start = time.perf_counter()
        connection.expect(200, "GET", paths[number % len(paths)], headers={"Accept": MANIFEST})
        taken.append((time.perf_counter() - start) * 1000)
    return quantiles(taken, n=100)[98]
