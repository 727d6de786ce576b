"""`kill -9` between every two steps of an ingest and of a commit: what was acknowledged stays, nothing is half there."""

import os
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from oci.digest import Digest
from tests.crash.acts import push_two
from tests.crash.killing import RECORD, run_killed
from tests.homes import new_home
from tests.on_postgresql import staging_folder
from tests.unit.catalog.conftest import push_image

ROOMS = (
    "catalog/blobs/local_store.py", "catalog/blobs/uploads.py", "catalog/blobs/index.py", "catalog/blobs/ingest_queue.py",
    "catalog/commits/commit.py", "catalog/lake/connection.py",
)  # fmt: skip


def check_nothing_is_half_there(home: Path) -> set[str]:
    """Open what the crash left; return its tags."""
    with Catalog(read_settings(home=home)) as catalog:
        snapshot = catalog.snapshots.get("team/app")
        assert snapshot.version == len(snapshot.tags) == len(catalog.history.versions("team/app"))
        for digest, entry in snapshot.manifests.items():
            assert catalog.manifests.read(digest, entry.media_type).digest == digest
        for digest in snapshot.blobs:
            assert Digest.of(catalog.content.read(digest)) == digest
        tags = set(snapshot.tags)
        assert push_image(catalog, "team/app", "new", "new").snapshot.tags.keys() == {"stable", "new"}
        catalog.uploads.sweep(now=2**40)
    assert not list(staging_folder(home).iterdir())
    return tags


@pytest.mark.slow
def test_a_kill_at_any_line_loses_nothing_acknowledged_and_leaves_nothing_half_there(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    recorded = run_killed(processes, push_two, new_home(tmp_path / "whole"), ROOMS, RECORD)
    assert (recorded.exitcode, recorded.told) == (0, ["stable", "new"])
    assert len(recorded.lines) > 60
    seen: set[bool] = set()
    chosen = recorded.lines[:: max(1, len(recorded.lines) // int(os.environ.get("TEST_STEPS", "24")))]
    for number, line in enumerate(chosen):
        home = new_home(tmp_path / str(number))
        killed = run_killed(processes, push_two, home, ROOMS, line)
        assert (killed.exitcode, killed.told) == (-signal.SIGKILL, ["stable"]), line
        tags = check_nothing_is_half_there(home)
        assert "stable" in tags, line
        seen.add("new" in tags)
    assert False in seen
