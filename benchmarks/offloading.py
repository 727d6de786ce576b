"""Blobs through nginx, which asks the registry for each and sends the file itself, beside nginx alone with the same file."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.content import make_image, make_layer
from benchmarks.load import Load, requests_per_second
from benchmarks.rows import Row
from benchmarks.stage import Stage
from benchmarks.wire import Connection, Server, push_image
from catalog.blobs.local_store import name_of_digest
from oci.digest import Digest
from tests.nginx import OFFLOAD, start_nginx_before

REPOSITORY = "bench/offload"
GOALS = {"100 kB": (100_000, 0.9), "1 MB": (1_000_000, None), "50 MB": (50_000_000, None)}


def offload_rows(stage: Stage, *, rounds: int, seconds: float) -> Iterator[Row]:
    """Measure each size in alternating rounds, by one registry process and by two; nginx is one process with sendfile.

    At last nginx remembers who may have a blob, which it does for clients without a login.
    """
    layers = {name: make_layer(name, size) for name, (size, _) in GOALS.items()}
    for processes, remembers in ((1, False), (2, False), (1, True)):
        ours, mine = stage.ours("offload", env={**OFFLOAD, "ENTREPOT_SERVER_PROCESSES": str(processes)})
        if (processes, remembers) == (1, False):
            with Connection(ours) as connection:
                push_image(connection, REPOSITORY, make_image("v1", list(layers.values())))
        nginx = start_nginx_before(stage.children, mine.port, blobs=mine.home / "blobs", remembers=remembers)
        login = {"username": ""} if remembers else {}
        before = replace(ours, name="nginx and entrepot", port=nginx.port, **login)
        alone = Server("nginx", nginx.files_port)
        for name, layer in layers.items():
            size, goal = GOALS[name]
            many = Load(
                f"/v2/{REPOSITORY}/blobs/{layer.digest}", connections=4 if size > 10**7 else 16, seconds=seconds
            )
            file = replace(many, path=f"/{name_of_digest(Digest.parse(layer.digest))}")
            rates = [(requests_per_second(before, many), requests_per_second(alone, file)) for _ in range(rounds)]
            mine_rates, their_rates = (tuple(rate * size / 1e9 for rate in one) for one in zip(*rates, strict=True))
            note = f"{processes} registry process{'es' if processes > 1 else ''}, {many.connections} connections"
            title = f"blob GET {name} through nginx, {processes} of ours" + (", remembered" if remembers else "")
            yield Row(title, "GB/s", mine_rates, their_rates, goal if remembers else None, note=note)
        for child in (nginx.child, mine.child):
            child.stop()
