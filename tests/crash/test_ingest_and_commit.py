"""`kill -9` between every two steps of an ingest and of a commit: what was acknowledged stays, nothing is half there."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from oci.digest import Digest
from tests.unit.catalog.conftest import push_image

ROOT = Path(__file__).parents[2]

WORKER = """
import os, signal, sys
from pathlib import Path
from catalog.catalog import Catalog
from catalog.settings import read_settings
from tests.unit.catalog.conftest import push_image

home, wanted = Path(sys.argv[1]), sys.argv[2]
catalog = Catalog(read_settings(home=home))
push_image(catalog, "team/app", "stable", "stable")
print("acknowledged stable", flush=True)

ROOMS = (
    "catalog/blobs/local_store.py", "catalog/blobs/uploads.py", "catalog/blobs/index.py", "catalog/blobs/ingest_queue.py",
    "catalog/commits/commit.py", "catalog/lake/connection.py",
)
steps = []

def trace(frame, event, argument):
    if not frame.f_code.co_filename.endswith(ROOMS):
        return None
    if event == "line":
        step = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        if wanted == "record":
            steps.append(step)
        elif step == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace

sys.settrace(trace)
push_image(catalog, "team/app", "new", "new")
sys.settrace(None)
print("acknowledged new", flush=True)
print("steps", *dict.fromkeys(steps), flush=True)
"""


def run_worker(home: Path, wanted: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORKER, str(home), wanted]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


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
    assert not list((home / "blobs" / "staging").iterdir())
    return tags


@pytest.mark.slow
def test_a_kill_at_any_line_loses_nothing_acknowledged_and_leaves_nothing_half_there(tmp_path: Path) -> None:
    recorded = run_worker(tmp_path / "whole", "record")
    assert recorded.returncode == 0, recorded.stderr
    steps = re.findall(r"\w+\.py:\d+", recorded.stdout.splitlines()[-1])
    assert len(steps) > 60
    seen: set[bool] = set()
    chosen = steps[:: max(1, len(steps) // int(os.environ.get("TEST_STEPS", "24")))]
    for number, step in enumerate(chosen):
        home = tmp_path / str(number)
        killed = run_worker(home, step)
        assert killed.returncode == -signal.SIGKILL, (step, killed.stderr)
        assert "acknowledged stable" in killed.stdout
        assert "acknowledged new" not in killed.stdout
        tags = check_nothing_is_half_there(home)
        assert "stable" in tags, step
        seen.add("new" in tags)
    assert False in seen
