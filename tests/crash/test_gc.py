"""Pushes racing garbage collection, with `kill -9` of either: no tagged image ever loses a blob."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from oci.digest import Digest
from tests.on_postgresql import BUCKET

ROOT = Path(__file__).parents[2]
ROUNDS = 12 if BUCKET in os.environ else 50  # with servers a process takes seconds to begin again

RACE = """
import os, random, signal, sys, time
from pathlib import Path
from catalog.catalog import Catalog
from catalog.settings import read_settings
from oci.digest import Digest
from oci.errors import EntrepotError
from tests.unit.catalog.conftest import push_image

home, rounds = Path(sys.argv[1]), int(sys.argv[2])
acknowledged = home.parent / "acknowledged"

def push(turn, beat):
    with Catalog(read_settings(home=home)) as catalog, acknowledged.open("a") as out:
        for number in range(10**6):
            seed = f"{turn}-{number}"
            for orphan in (f"layer {turn} {number}", f"layer {turn} {number} that nothing needs"):
                catalog.content.put(orphan.encode(), Digest.of(orphan.encode()), "team/app")
            # Of late, so that the collector may be about to free them.
            layers = tuple(f"layer {turn} {max(0, number - random.randrange(60))}" for _ in range(3))
            try:
                push_image(catalog, "team/app", f"t{seed}", seed, layers)
            except EntrepotError:  # the collector was quicker than this push: nothing was acknowledged
                continue
            print(f"t{seed}", file=out, flush=True)
            os.write(beat, b"p")

def collect(turn, beat):
    with Catalog(read_settings(home=home)) as catalog:
        while True:
            if catalog.maintenance.sweep(grace=1.0).freed_blobs or turn == 0:
                os.write(beat, b"g")
            else:
                time.sleep(0.01)

def start(act, turn):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            act(turn, writing)
        finally:
            os._exit(1)
    os.close(writing)
    return child, reading

def stop(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

pusher, pushed = start(push, 0)
collector, collected = start(collect, 0)
try:
    for turn in range(1, rounds + 1):
        # Whoever was begun last has done something; the other one may be anywhere.
        os.read(pushed if turn % 2 else collected, 1)
        time.sleep(random.random() * 0.05)
        if turn % 2:
            stop(collector)
            collector, collected = start(collect, turn)
        else:
            stop(pusher)
            pusher, pushed = start(push, turn)
finally:
    stop(pusher)
    stop(collector)
"""


@pytest.mark.slow
def test_pushes_racing_gc_with_kills_of_either(tmp_path: Path) -> None:
    home = tmp_path / "entrepot"
    Catalog(read_settings(home=home)).close()
    race = subprocess.run([sys.executable, "-c", RACE, str(home), str(ROUNDS)], cwd=ROOT, timeout=900, check=False)
    assert race.returncode == 0
    acknowledged = set((tmp_path / "acknowledged").read_text().split())
    assert len(acknowledged) >= ROUNDS / 2
    with Catalog(read_settings(home=home)) as catalog:
        for _ in range(2):
            snapshot = catalog.snapshots.get("team/app")
            assert acknowledged <= snapshot.tags.keys()
            for digest, entry in snapshot.manifests.items():
                assert catalog.manifests.read(digest, entry.media_type).digest == digest
            for digest in snapshot.blobs:
                assert Digest.of(catalog.content.read(digest)) == digest
            catalog.maintenance.sweep(grace=0.0)
        assert catalog.maintenance.absent() == []
        # A process killed between putting a file down and recording it leaves a file that nobody knows.
        catalog.maintenance.unknown_files(grace=-60.0, remove=True)
        assert catalog.maintenance.unknown_files(grace=0.0, remove=False).files == 0
