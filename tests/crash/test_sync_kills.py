"""A sync is killed at fifty random points, and run again each time: it ends where an undisturbed one does."""

import os
import random
import signal
import sqlite3
import threading
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from catalog.versions.snapshot import Snapshot
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.crash import syncing
from tests.upstream import Reply, Seen, Upstream

KILLS, TAGS, NAME = 50, 150, "team/app"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    store = MemoryStore(NAME)
    for number in range(TAGS):
        image = pack_image(store, [{"base": str(number // 10)}, {"own": f"{number}" * 500}, {"more": str(number)}])
        store.put_tag(f"v{number}", image.digest)
        if number % 10 == 0:
            signature = pack_image(store, [{"signature": str(number)}], subject=image)
            store.put_tag(f"sha256-{image.digest.encoded}.sig", signature.digest)
    with Upstream({NAME: store}) as served:
        served.has_referrers = True
        yield served


class Killer:
    """A fault of the upstream: kills the process that asks, when it has asked so often."""

    def __init__(self) -> None:
        self._left, self._pid = -1, 0
        self.killed = threading.Event()

    def arm(self, requests: int) -> None:
        self._left = requests
        self.killed.clear()

    def watch(self, pid: int) -> None:
        self._pid = pid
        if self._left == 0:  # it was quicker than we are
            self._kill()

    def __call__(self, _seen: Seen, good: Reply) -> Reply:
        if self._left > 0:
            self._left -= 1
            if self._left == 0 and self._pid:
                self._kill()
        return good

    def _kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self._pid, self._left = 0, -1
        self.killed.set()


def held_blobs(home: Path) -> set[str]:
    """What is recorded as held; asked of the file itself, for no process of ours has it open now."""
    file = home / "catalog" / "holdings.sqlite"
    if not file.exists():
        return set()
    connection = sqlite3.connect(file)
    try:
        return {row[0] for row in connection.execute("SELECT digest FROM blobs")}
    except sqlite3.OperationalError:  # killed before there were tables
        return set()
    finally:
        connection.close()


def content_of(home: Path) -> Snapshot:
    with open_catalog(read_settings(home=home)) as catalog:
        snapshot = catalog.snapshots.get(NAME)
        assert [row.operation for row in catalog.history.versions(NAME)] == ["sync"]
        for digest, entry in snapshot.manifests.items():
            assert catalog.manifests.read(digest, entry.media_type).digest == digest
        assert catalog.content.missing(snapshot.blobs) == set()
        return snapshot


@pytest.mark.slow
def test_fifty_kills_lead_to_where_an_undisturbed_sync_does(
    tmp_path: Path, processes: ForkServerContext, upstream: Upstream
) -> None:
    remote, dice = f"{upstream.host}/{NAME}", random.Random(50)
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    undisturbed = processes.Process(target=syncing.sync, args=(str(calm), remote, "calm"))
    undisturbed.start()
    undisturbed.join(120)
    assert undisturbed.exitcode == 0
    blobs = [seen.reference for seen in upstream.seen if seen.method == "GET" and seen.route == "blob"]
    assert len(blobs) == len(set(blobs)), "an undisturbed sync fetches each blob once"
    killer, kills = Killer(), 0
    upstream.faults.append(killer)
    held: set[str] = set()
    while kills < KILLS:
        upstream.forget()
        # Resolving costs a HEAD for each tag each time; the rest is up to chance, from before the first blob to the commit.
        killer.arm(dice.choice([dice.randint(1, TAGS), TAGS + dice.randint(1, 60)]))
        running = processes.Process(target=syncing.sync, args=(str(stormy), remote, "stormy"))
        running.start()
        assert running.pid is not None
        killer.watch(running.pid)
        running.join(120)
        fetched = [seen.reference for seen in upstream.seen if seen.method == "GET" and seen.route == "blob"]
        assert held.isdisjoint(fetched), "a blob that was stored is fetched again"
        if running.exitcode == 0:
            break
        assert running.exitcode == -signal.SIGKILL
        kills += 1
        held |= held_blobs(stormy)
    assert kills == KILLS, f"it was done after {kills} kills: there is too little to copy for this test"
    upstream.faults.clear()
    last = processes.Process(target=syncing.sync, args=(str(stormy), remote, "stormy"))
    last.start()
    last.join(120)
    assert last.exitcode == 0
    assert content_of(stormy) == content_of(calm)
