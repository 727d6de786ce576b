"""Operations come through beside pushers who are always quicker."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from catalog.versions.changes import Change, RemoveTag
from catalog.versions.snapshot import Snapshot
from flows.runs.operation import MAX_PLANS, Operation, PlanChanged, perform
from tests.homes import new_home
from tests.servers import wait_until
from tests.unit.catalog.conftest import push_image

NAME, NOW = "team/app", datetime(2026, 1, 1, tzinfo=UTC)


def test_an_operation_comes_through_beside_four_steady_pushers(tmp_path: Path) -> None:
    """It is made to be too late each time: it plans no quicker than others make the next version."""
    with Catalog(read_settings(home=new_home(tmp_path / "entrepot"))) as catalog, ThreadPoolExecutor(4) as pool:
        push_image(catalog, NAME, "old", "old")
        stop, plans = threading.Event(), list[int]()
        pushing = [pool.submit(push_until, catalog, number, stop) for number in range(4)]

        def plan(base: Snapshot) -> Sequence[Change]:
            plans.append(base.version)
            if len(plans) < MAX_PLANS:
                wait_until(lambda: catalog.snapshots.get(NAME).version > base.version, 30, "others are quicker")
            return [RemoveTag("old")]

        try:
            done = perform(catalog, Operation(NAME, "retain", "", plan), actor="tester", run_id="run", now=NOW)
        finally:
            stop.set()
        pushed = [one.result() for one in pushing]
        assert len(plans) == MAX_PLANS
        assert done.changed
        assert done.base == plans[-1] == done.version - 1
        assert sorted(set(plans)) == plans
        assert "old" not in catalog.snapshots.get(NAME).tags
        assert catalog.snapshots.get(NAME).tags.keys() == {tag for tags in pushed for tag in tags}
        numbers = [row.number for row in catalog.history.versions(NAME)]
        assert numbers == list(range(len(numbers), 0, -1))


def push_until(catalog: Catalog, number: int, stop: threading.Event) -> list[str]:
    tags: list[str] = []
    while not stop.is_set():
        tags.append(f"t{number}-{len(tags)}")
        push_image(catalog, NAME, tags[-1], tags[-1])
    return tags


def test_a_plan_that_fails_under_the_lock_lets_others_go_on(tmp_path: Path) -> None:
    with Catalog(read_settings(home=new_home(tmp_path / "entrepot"))) as catalog:

        def plan_badly(_: Snapshot) -> object:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            catalog.commits.commit_latest(NAME, plan_badly)  # type: ignore[arg-type]
        assert push_image(catalog, NAME, "v1", "one").version == 1


def test_a_plan_that_writes_under_the_lock_fails_instead_of_waiting_for_itself(tmp_path: Path) -> None:
    with Catalog(read_settings(home=new_home(tmp_path / "entrepot"))) as catalog:
        with pytest.raises(RuntimeError, match="would wait for itself"):
            catalog.commits.commit_latest(NAME, lambda _: push_image(catalog, NAME, "v1", "one"))  # type: ignore[arg-type,return-value]
        assert push_image(catalog, NAME, "v1", "one").version == 1


def test_what_was_not_shown_is_not_done_at_the_last_try_either(tmp_path: Path) -> None:
    with Catalog(read_settings(home=new_home(tmp_path / "entrepot"))) as catalog:
        push_image(catalog, NAME, "v1", "one")
        operation = Operation(NAME, "retain", "", lambda _: [RemoveTag("v1")])
        shown = perform(catalog, operation, actor="tester", run_id="one", now=NOW, dry_run=True).plan
        push_image(catalog, NAME, "v2", "two")
        with pytest.raises(PlanChanged):
            perform(catalog, operation, actor="tester", run_id="later", now=NOW, expected=shown)
        assert catalog.snapshots.get(NAME).tags.keys() == {"v1", "v2"}
