"""What grows with the catalogue, and what must not: ten thousand tags, a hundred thousand, a million.

The catalogues are made in bulk (benchmarks/bulk.py): a hundred tags and two thousand rows of membership for each repository.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.bulk import Size, fill, keep_manifests, repository_name
from benchmarks.content import MANIFEST, make_image, make_layer
from benchmarks.load import Load, requests_per_second
from benchmarks.rows import Row
from benchmarks.stage import Stage
from benchmarks.wire import Connection, Server, push_image
from catalog.catalog import Catalog
from catalog.query.named import named_questions
from catalog.query.run import limits_of
from catalog.query.tables import ask_table
from catalog.settings import Settings, read_settings

_SAMPLE = 40
_COMMITS = 40
_TAGS = 100
MEGABYTE = 1e6


@dataclass
class Figures:
    """What was measured of one catalogue: seconds, unless a name says otherwise."""

    tags: int
    start: float = 0.0
    maintained: float = 0.0
    memory_mb: float = 0.0
    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    questions: dict[str, float] = field(default_factory=dict)


def growth_rows(stage: Stage, *, sizes: Sequence[int]) -> Iterator[Row]:
    """Measure an empty catalogue, then one of each number of tags."""
    empty = _measure(stage, 0)
    for tags in sizes:
        yield from _rows(_measure(stage, tags), empty)


def _measure(stage: Stage, tags: int) -> Figures:
    home, size, found = stage.folder / f"growth-{tags}", Size(tags // _TAGS, _TAGS), Figures(tags)
    settings = read_settings(home=home)
    sample = random.Random(tags).sample(range(size.repositories), min(_SAMPLE, size.repositories))
    if tags:
        fill(settings, size)
        keep_manifests(settings, size, sample)
        found.maintained = _maintain(settings)
        found.questions = _ask(settings)
    begun = time.perf_counter()
    server, started = stage.ours(home.name)
    found.start = time.perf_counter() - begun
    with Connection(server) as connection:
        for number in sample:
            path = f"/v2/{repository_name(number)}/manifests/v1.2.3"
            begun = time.perf_counter()
            connection.expect(200, "GET", path, headers={"Accept": MANIFEST})
            found.cold.append(time.perf_counter() - begun)
    for number in sample[:5]:
        load = Load(f"/v2/{repository_name(number)}/manifests/v1.2.3", accept=MANIFEST, connections=1, seconds=1)
        found.warm.append(1 / requests_per_second(server, load))
    found.commits = _push(server, sample)
    found.memory_mb = started.child.memory() / MEGABYTE
    started.child.stop()
    return found


def _push(server: Server, sample: Sequence[int]) -> list[float]:
    """Seconds of one push after the other of tags whose image is there, so that the commit is nearly all of it."""
    took: list[float] = []
    image = make_image("pushed", [make_layer("pushed", 1000)])
    names = [repository_name(number) for number in sample[: _COMMITS // 2]] or ["new/app"]
    with Connection(server) as connection:
        for number in range(_COMMITS):
            name = names[number % len(names)]
            if number < len(names):
                push_image(connection, name, image)
            begun = time.perf_counter()
            headers = {"Content-Type": MANIFEST}
            connection.expect(201, "PUT", f"/v2/{name}/manifests/pushed-{number}", image.manifest, headers=headers)
            took.append(time.perf_counter() - begun)
    return took


def _maintain(settings: Settings) -> float:
    """Seconds of a first maintenance of all rows, as any night does it."""
    begun = time.perf_counter()
    with Catalog(settings) as catalog:
        list(catalog.maintenance.steps(keep_snapshots=30 * 86400.0, grace=86400.0))
    return time.perf_counter() - begun


def _ask(settings: Settings) -> dict[str, float]:
    """Seconds of each question that comes with us, from its start as a process to the whole answer; the quicker of two."""
    limits = limits_of(settings).changed(timeout=300.0)
    took: dict[str, float] = {}
    for name, named in named_questions().items():
        for _ in range(2):
            begun = time.perf_counter()
            ask_table(settings, named.question({}), limits)
            took[name] = min(took.get(name, 1e9), time.perf_counter() - begun)
    return took


def _milliseconds(seconds: Sequence[float]) -> tuple[float, ...]:
    return tuple(one * 1000 for one in seconds)


def _rows(found: Figures, empty: Figures) -> Iterator[Row]:
    about = f"{found.tags:,} tags"
    yield Row(f"{about}: first pull of a repository", "ms", (median(found.cold) * 1000,), goal=100, better="less")
    yield Row(f"{about}: pull once warm, client included", "ms", (median(found.warm) * 1000,), goal=1, better="less")
    yield Row(
        f"{about}: a push's commit",
        "ms",
        _milliseconds(found.commits),
        _milliseconds(empty.commits),
        0.5,
        "less",
        "peer: a catalogue of nothing",
    )
    yield Row(
        f"{about}: API ready after", "s", (found.start,), (empty.start,), None, "less", "peer: a catalogue of nothing"
    )
    yield Row(f"{about}: API resident", "MB", (found.memory_mb,), goal=1000, better="less")
    yield Row(f"{about}: first maintenance", "s", (found.maintained,))
    for name, seconds in found.questions.items():
        yield Row(f"{about}: question {name}", "s", (seconds,), goal=2, better="less")
