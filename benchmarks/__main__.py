"""`make bench`: measure, print the table, keep the figures as JSON; exit 1 when a goal is missed."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.chart import charts
from benchmarks.committing import committing_rows
from benchmarks.growth import growth_rows
from benchmarks.load import WRK
from benchmarks.memory import memory_rows
from benchmarks.offloading import offload_rows
from benchmarks.patience import patience_rows
from benchmarks.pushing import pushing_rows
from benchmarks.replicas import replica_rows
from benchmarks.rows import Row, render
from benchmarks.sboms import SbomSize, sbom_rows
from benchmarks.scale import scale_rows
from benchmarks.searching import search_rows
from benchmarks.serving import serving_rows
from benchmarks.stage import Stage, machine, write_results
from benchmarks.syncing import syncing_rows
from benchmarks.trusting import trust_rows
from benchmarks.verbs import verb_rows
from benchmarks.workers import worker_rows
from benchmarks.zot import start_zot
from tests.servers import Children, isolate

RESULTS = Path(__file__).resolve().parent / "results"


def serving(stage: Stage, quick: bool) -> Iterator[Row]:
    rounds, seconds = (2, 1.0) if quick else (5, 2.0)
    return serving_rows(stage, rounds=rounds, seconds=seconds, largest=50_000_000 if quick else 1_000_000_000)


def scale(stage: Stage, quick: bool) -> Iterator[Row]:
    tags, repositories, referrers = ((100,), 100, 50) if quick else ((1_000, 50_000), 10_000, 1_000)
    return scale_rows(
        stage,
        rounds=2 if quick else 5,
        seconds=1 if quick else 2,
        tags=tags,
        repositories=repositories,
        referrers=referrers,
    )


def offload(stage: Stage, quick: bool) -> Iterator[Row]:
    return offload_rows(stage, rounds=2 if quick else 5, seconds=1.0 if quick else 2.0)


def patience(stage: Stage, quick: bool) -> Iterator[Row]:
    return patience_rows(stage, stalled=50 if quick else 500, pulls=200 if quick else 2_000)


def pushing(stage: Stage, quick: bool) -> Iterator[Row]:
    (ours, mine), (peer, theirs) = stage.ours("pushing"), stage.peer("pushing-peer")
    zot = start_zot(stage.children, "pushing-zot")
    if zot is None:
        print("no rows against zot: `zot` is not on PATH", file=sys.stderr)
    yield from pushing_rows(ours, [peer, *([zot[0]] if zot else [])], rounds=2 if quick else 5)
    for child in (mine.child, theirs.child, *([zot[1]] if zot else [])):
        child.stop()


def committing(stage: Stage, quick: bool) -> Iterator[Row]:
    return committing_rows(stage.folder, stage.children, rounds=2 if quick else 8, commits=20 if quick else 100)


def syncing(stage: Stage, quick: bool) -> Iterator[Row]:
    sizes = (40,) if quick else (200, 1_000)
    return syncing_rows(stage, rounds=1 if quick else 3, sizes=sizes, delays=(0.0, 0.02))


def growth(stage: Stage, quick: bool) -> Iterator[Row]:
    return growth_rows(stage, sizes=(1_000,) if quick else (10_000, 100_000, 1_000_000))


def verbs(stage: Stage, quick: bool) -> Iterator[Row]:
    return verb_rows(stage, rounds=1 if quick else 3, layers=4 if quick else 32)


def memory(stage: Stage, quick: bool) -> Iterator[Row]:
    return memory_rows(stage, size=2**28 if quick else 2**32)


def replicas(stage: Stage, quick: bool) -> Iterator[Row]:
    return replica_rows(stage, rounds=2 if quick else 5, seconds=1.0 if quick else 2.0, images=80 if quick else 400)


def searching(stage: Stage, quick: bool) -> Iterator[Row]:
    return search_rows(stage, repositories=100 if quick else 10_000, tags=10, rounds=3 if quick else 9)


def sboms(stage: Stage, quick: bool) -> Iterator[Row]:
    return sbom_rows(stage, size=SbomSize(20 if quick else 1_000, 10), rounds=2 if quick else 5)


def workers(stage: Stage, quick: bool) -> Iterator[Row]:
    return worker_rows(stage, repositories=60 if quick else 1_000, workers=(1, 2) if quick else (1, 2, 4), delay=0.02)


def trust(stage: Stage, quick: bool) -> Iterator[Row]:
    return trust_rows(stage, rounds=2 if quick else 5, seconds=1.0 if quick else 2.0, images=50 if quick else 1_000)


SECTIONS: dict[str, Callable[[Stage, bool], Iterator[Row]]] = {
    "serving": serving,
    "scale": scale,
    "offload": offload,
    "patience": patience,
    "pushing": pushing,
    "committing": committing,
    "syncing": syncing,
    "growth": growth,
    "verbs": verbs,
    "memory": memory,
    "replicas": replicas,
    "searching": searching,
    "sboms": sboms,
    "workers": workers,
    "trust": trust,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and less content: shows that it runs")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="one section; may be repeated")
    parser.add_argument(
        "--folder", type=Path, help="where to put some 20 GB for a while (default: the temporary folder)"
    )
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.only or SECTIONS:
        with tempfile.TemporaryDirectory(
            prefix="entrepot-bench-", dir=options.folder, ignore_cleanup_errors=True
        ) as top:
            isolate(os.environ, Path(top) / "home")
            with Children(Path(top)) as children:
                for row in SECTIONS[name](Stage(Path(top), children), options.quick):
                    print(render([row]).splitlines()[2], file=sys.stderr, flush=True)
                    rows.append(row)
    about = {**machine(), "load": "wrk" if WRK else "own client", "quick": options.quick}
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = write_results(RESULTS, {"machine": about, "rows": [row.as_json() for row in rows]}, stamp)
    print("\n" + ", ".join(f"{key}: {value}" for key, value in about.items()))
    print(
        "ours: entrepot; peer: docker-registry unless a note says otherwise; figures: median (least-most) of the rounds\n"
    )
    print(render(rows))
    if drawn := charts(rows):
        print(f"\n{drawn}")
    missed = [row.name for row in rows if row.passed is False]
    print(f"\n{len(missed)} goals missed{': ' + '; '.join(missed) if missed else ''}. Figures: {kept}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
