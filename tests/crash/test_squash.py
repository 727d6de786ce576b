"""`kill -9` in the middle of deleting versions: all of them are there, or none, and the others are what they were."""

import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from catalog.versions.timeline import parse_numbers
from oci.errors import VersionUnknown
from tests.crash.acts import delete_two
from tests.crash.killing import RECORD, run_killed
from tests.homes import new_home
from tests.unit.catalog.conftest import push_image

FILES = ("catalog/versions/deletion.py", "catalog/lake/connection.py")


@pytest.mark.slow
def test_a_kill_at_any_line_deletes_all_or_nothing(tmp_path: Path, processes: ForkServerContext) -> None:
    def fill(home: Path) -> None:
        with Catalog(read_settings(home=new_home(home))) as catalog:
            for number in range(1, 5):
                push_image(catalog, "team/app", "a", str(number))

    fill(tmp_path / "whole")
    recorded = run_killed(processes, delete_two, tmp_path / "whole", FILES, RECORD)
    assert recorded.exitcode == 0
    steps = recorded.lines
    start = next(place for place, step in enumerate(steps) if step.startswith("deletion.py"))
    home = tmp_path / "killed"
    fill(home)
    for step in steps[start :: (len(steps) - start) // 6]:
        killed = run_killed(processes, delete_two, home, FILES, step)
        with Catalog(read_settings(home=home)) as catalog:
            numbers = [row.number for row in catalog.history.versions("team/app")]
            assert numbers in ([4, 3, 2, 1], [4, 3]), step
            assert [len(catalog.snapshots.get("team/app", number).tags) for number in (3, 4)] == [1, 1]
            assert len(catalog.snapshots.get("team/app", 3).manifests) == 3
        if numbers == [4, 3]:
            assert killed.exitcode == -signal.SIGKILL
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
