"""Compaction changes no version, whatever process looks afterwards, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.maintenance.compaction import MaintenanceStep
from catalog.settings import read_settings
from catalog.versions.changes import RemoveTag
from catalog.versions.snapshot import Snapshot
from tests.homes import new_home
from tests.unit.catalog.conftest import commit_to, push_image

ROOT = Path(__file__).parents[4]


def fill(catalog: Catalog, count: int = 6) -> None:
    for number in range(count):
        push_image(catalog, f"team/app{number % 2}", f"v{number}", str(number))
        catalog._lake.maintain("CALL ducklake_flush_inlined_data('lake')")
    commit_to(catalog, "team/app0", RemoveTag("v0"))


def everything(catalog: Catalog) -> list[Snapshot]:
    return [
        catalog.snapshots.get(name, version.number)
        for name in catalog.snapshots.names()
        for version in catalog.history.versions(name)
    ]


def by_name(steps: list[MaintenanceStep]) -> dict[str, int]:
    found: dict[str, int] = {}
    for step in steps:
        found[step.name] = found.get(step.name, 0) + step.done
    return found


def test_upkeep_makes_few_files_of_many_and_changes_no_version(
    catalog: Catalog, open_again: Callable[..., Catalog]
) -> None:
    fill(catalog)
    idle = open_again()
    before = everything(idle)
    files = len(list(catalog._lake.data.rglob("*.parquet")))
    done = by_name(list(catalog.maintenance.steps(keep_snapshots=0.0, grace=-5.0)))
    assert done["flush-rows"] > 0
    assert done["merge-files"] >= 6
    assert done["expire-snapshots"] > 6
    assert done["remove-files"] >= 6
    assert len(list(catalog._lake.data.rglob("*.parquet"))) < files
    assert everything(catalog) == everything(idle) == everything(open_again()) == before
    again = by_name(list(catalog.maintenance.steps(keep_snapshots=0.0, grace=-5.0)))
    assert again["flush-rows"] == again.get("merge-files", 0) == again["rewrite-files"] == 0


def test_a_process_that_runs_since_before_the_first_upkeep_reads_and_writes_on(
    catalog: Catalog, open_again: Callable[..., Catalog]
) -> None:
    push_image(catalog, "team/app", "v1", "one")
    other = open_again()
    before = everything(other)
    list(catalog.maintenance.steps(keep_snapshots=0.0, grace=-5.0))
    other.snapshots._kept.clear()  # as if it had too much to keep
    assert everything(other) == before
    push_image(other, "team/app", "v2", "two")
    assert set(catalog.snapshots.get("team/app").tags) == {"v1", "v2"}


def test_a_process_that_was_idle_over_an_expiry_learns_what_was_committed(
    catalog: Catalog, open_again: Callable[..., Catalog]
) -> None:
    fill(catalog)
    idle, follower = open_again(), open_again()
    assert idle.snapshots.get("team/app0").version == 4
    log = follower.commits.log()
    log.look()
    push_image(catalog, "team/app0", "new", "while nobody looks")
    push_image(catalog, "team/other", "new", "a new repository")
    list(catalog.maintenance.steps(keep_snapshots=0.0, grace=-5.0))  # the snapshots that would have told of it are gone
    assert not idle.snapshots.is_current()
    assert idle.snapshots.get("team/app0").version == 5
    assert "new" in idle.snapshots.get("team/app0").tags
    assert idle.snapshots.names() == ("team/app0", "team/app1", "team/other")
    assert idle.serving.cached("team/other") or idle.serving.find("team/other")
    push_image(idle, "team/app0", "newer", "by the idle one")
    assert catalog.snapshots.get("team/app0").tags.keys() == idle.snapshots.get("team/app0").tags.keys()


def test_a_sweep_after_an_expiry_frees_nothing_that_versions_hold(catalog: Catalog) -> None:
    fill(catalog)
    assert catalog.maintenance.sweep(grace=-5.0).freed == []
    list(catalog.maintenance.steps(keep_snapshots=0.0, grace=-5.0))
    assert catalog.maintenance.sweep(grace=-5.0).freed == []
    assert catalog.maintenance.absent() == []


WORKER = """
import sys
from pathlib import Path
from catalog.catalog import Catalog
from catalog.settings import read_settings

with Catalog(read_settings(home=Path(sys.argv[1]))) as catalog:
    for step in catalog.maintenance.steps(keep_snapshots=0.0, grace=-5.0):
        print(step.name, flush=True)
        if step.name == sys.argv[2]:
            import os, signal, threading
            threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), signal.SIGKILL)).start()
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["flush-rows", "merge-files", "expire-snapshots"])
def test_a_kill_in_the_middle_leaves_the_catalogue_whole(home: Path, step: str) -> None:
    with Catalog(read_settings(home=new_home(home))) as catalog:
        fill(catalog, 12)
        before = everything(catalog)
    command = [sys.executable, "-c", WORKER, str(home), step, "0.005"]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, timeout=120, check=False)
    assert killed.returncode in (-signal.SIGKILL, 0), killed.stderr
    with Catalog(read_settings(home=home)) as catalog:
        assert everything(catalog) == before
        list(catalog.maintenance.steps(keep_snapshots=0.0, grace=-5.0))
        assert everything(catalog) == before
        push_image(catalog, "team/app0", "after", "the kill")
