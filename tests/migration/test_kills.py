"""`kill -9` anywhere in a migration: one of both places is in charge, and the next run comes to the same end."""

import os
import signal
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import Settings
from oci.errors import CatalogMoved
from tests.crash.killing import RECORD, fork_server, run_killed
from tests.migration.histories import ask, differing, fill, last_snapshot, move, settings_of
from tests.migration.killed import migrate_killed
from tests.postgresql import PostgresServer
from tests.unit.catalog.conftest import push_image

pytestmark = pytest.mark.embedded
KILLS = min(30, int(os.environ.get("TEST_KILLS", "0")))
"""Lines of each kind at which a migration is killed; none but in `make nightly`, for each takes half a minute."""
FILES = tuple(f"catalog/migration/{name}.py" for name in ("migration", "ends", "postgresql_end", "lake_copy"))


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Starts functions in processes that have all imported."""
    return fork_server(["tests.migration.killed"])


def takes_pushes(settings: Settings, text: str) -> bool:
    """Push; return whether it was taken. AssertionError for another refusal than that of a catalogue that has moved."""
    try:
        with open_catalog(settings) as catalog:
            push_image(catalog, "team/pushed", "latest", text)
    except CatalogMoved:
        return False
    return True


@pytest.mark.parametrize("back", [False, True], ids=["to-postgresql", "to-sqlite"])
def test_a_kill_at_each_step_leaves_one_in_charge(
    tmp_path: Path, postgres_server: PostgresServer, processes: ForkServerContext, *, back: bool
) -> None:
    url = postgres_server.new_database()
    files = fill(tmp_path / "home")
    shared = settings_of(tmp_path / "home", url)
    source, target = (shared, files) if back else (files, shared)
    if back:
        move(files, shared)
    for point in ("begun", "files", "rows", "copied", "compared"):
        act = partial(migrate_killed, url=url, back=back, point=point)
        assert run_killed(processes, act, tmp_path / "home", (), "").exitcode == -signal.SIGKILL, point
        assert (takes_pushes(source, point), takes_pushes(target, point)) == (True, False), point
    until = last_snapshot(source)
    before = ask(source, until)
    act = partial(migrate_killed, url=url, back=back, point="moved")
    assert run_killed(processes, act, tmp_path / "home", (), "").exitcode == -signal.SIGKILL
    assert (takes_pushes(source, "moved"), takes_pushes(target, "moved")) == (False, False)
    assert move(source, target).report.was_moved
    assert differing(before, ask(target, until)) == []
    assert (takes_pushes(source, "finished"), takes_pushes(target, "finished")) == (False, True)
    with open_catalog(target) as catalog:
        assert len(catalog.history.versions("team/pushed")) == 6


def is_marked(server: PostgresServer, url: str) -> bool:
    """Return whether a migration has begun in a database."""
    sql = "SELECT obj_description(to_regnamespace('entrepot'), 'pg_namespace')"
    return server.execute(sql, url.rpartition("/")[2]) != [(None,)]


@pytest.mark.slow
@pytest.mark.skipif(not KILLS, reason="long: `make nightly` runs it")
@pytest.mark.parametrize("back", [False, True], ids=["to-postgresql", "to-sqlite"])
def test_a_kill_at_any_line_never_leaves_two_in_charge(
    tmp_path: Path, postgres_server: PostgresServer, processes: ForkServerContext, *, back: bool
) -> None:
    def prepare(name: str) -> tuple[str, Settings, Settings]:
        url = postgres_server.new_database()
        files = fill(tmp_path / name)
        shared = settings_of(tmp_path / name, url)
        if back:
            move(files, shared)
        return url, *((shared, files) if back else (files, shared))

    url, _, _ = prepare("whole")
    recorded = run_killed(
        processes, partial(migrate_killed, url=url, back=back, point=""), tmp_path / "whole", FILES, RECORD
    )
    assert recorded.exitcode == 0
    lines = list(recorded.lines)
    chosen = lines[:: max(1, len(lines) // KILLS)] + [one for one in lines if one.startswith("ends.py")][-KILLS:]
    for number, line in enumerate(dict.fromkeys(chosen)):
        url, source, target = prepare(f"home-{number}")
        act = partial(migrate_killed, url=url, back=back, point="")
        run_killed(processes, act, tmp_path / f"home-{number}", FILES, line)
        # A database without the mark of a migration is nobody's: who is told to use it makes a new catalogue there.
        taken = takes_pushes(source, line), (back or is_marked(postgres_server, url)) and takes_pushes(target, line)
        assert taken != (True, True), line
        until = last_snapshot(source)
        before = ask(source, until)
        if taken[1]:  # it was over
            continue
        move(source, target)
        assert differing(before, ask(target, until)) == [], line
        assert (takes_pushes(source, "end"), takes_pushes(target, "end")) == (False, True), line
