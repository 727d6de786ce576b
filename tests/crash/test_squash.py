"""`kill -9` in the middle of deleting versions: all of them are there, or none, and the others are what they were."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from catalog.versions.timeline import parse_numbers
from oci.errors import VersionUnknown
from tests.crash.test_ingest_and_commit import ROOT
from tests.unit.catalog.conftest import push_image

WORKER = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from catalog.catalog import Catalog
from catalog.settings import read_settings

home, wanted = Path(sys.argv[1]), sys.argv[2]
catalog = Catalog(read_settings(home=home))
steps = []

def trace(frame, event, argument):
    if not frame.f_code.co_filename.endswith(("catalog/versions/deletion.py", "catalog/lake/connection.py")):
        return None
    if event == "line":
        step = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        if wanted == "record":
            steps.append(step)
        elif step == wanted:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace

sys.settrace(trace)
catalog.deletion.delete_versions("team/app", [range(1, 3)], actor="test", now=datetime.now(UTC))
sys.settrace(None)
print("steps", *dict.fromkeys(steps), flush=True)
"""


def run_worker(home: Path, wanted: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WORKER, str(home), wanted]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)


@pytest.mark.slow
def test_a_kill_at_any_line_deletes_all_or_nothing(tmp_path: Path) -> None:
    def fill(home: Path) -> None:
        with Catalog(read_settings(home=home)) as catalog:
            for number in range(1, 5):
                push_image(catalog, "team/app", "a", str(number))

    fill(tmp_path / "whole")
    recorded = run_worker(tmp_path / "whole", "record")
    assert recorded.returncode == 0, recorded.stderr
    steps = re.findall(r"\w+\.py:\d+", recorded.stdout)
    start = next(place for place, step in enumerate(steps) if step.startswith("deletion.py"))
    home = tmp_path / "killed"
    fill(home)
    for step in steps[start :: (len(steps) - start) // 6]:
        killed = run_worker(home, step)
        with Catalog(read_settings(home=home)) as catalog:
            numbers = [row.number for row in catalog.history.versions("team/app")]
            assert numbers in ([4, 3, 2, 1], [4, 3]), step
            assert [len(catalog.snapshots.get("team/app", number).tags) for number in (3, 4)] == [1, 1]
            assert len(catalog.snapshots.get("team/app", 3).manifests) == 3
        if numbers == [4, 3]:
            assert killed.returncode != 0
            break
    with Catalog(read_settings(home=home)) as catalog:
        if numbers != [4, 3]:
            catalog.deletion.delete_versions(
                "team/app", parse_numbers(["1-2"]), actor="test", now=catalog.history.version("team/app", 4).created_at
            )
        for number in (1, 2):
            with pytest.raises(VersionUnknown):
                catalog.snapshots.get("team/app", number)
        assert push_image(catalog, "team/app", "a", "5").version == 5
