"""Pulls: what is counted adds up whoever writes it, in bounded memory, and disturbs nobody."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from catalog.pull_counts import DAYS_APART, PullCount, PullCounter, Pulled, Pulls, sum_pulls

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def _counted(*pulls: tuple[str, str, str], at: datetime = NOW) -> dict[Pulled, PullCount]:
    counter = PullCounter()
    for pull in pulls:
        counter.note(*pull, at)
    return dict(counter.take())


def test_pulls_are_counted_by_what_was_asked_for() -> None:
    counter = PullCounter()
    assert not counter
    for minute in range(3):
        counter.note("team/app", "v1", ONE, NOW + timedelta(minutes=minute))
    counter.note("team/app", "", ONE, NOW)
    assert counter
    assert counter.take() == {
        Pulled("team/app", "v1", ONE): PullCount(3, NOW + timedelta(minutes=2)),
        Pulled("team/app", "", ONE): PullCount(1, NOW),
    }
    assert not counter
    assert counter.take() == {}


def test_what_could_not_be_written_is_counted_on() -> None:
    counter = PullCounter()
    counter.note("team/app", "v1", ONE, NOW)
    taken = counter.take()
    counter.note("team/app", "v1", ONE, NOW - timedelta(hours=1))
    counter.give_back(taken)
    assert counter.take() == {Pulled("team/app", "v1", ONE): PullCount(2, NOW)}


def test_the_counter_is_bounded_and_forgets_no_pull() -> None:
    counter = PullCounter(limit=10)
    for number in range(100):
        counter.note("team/app", f"v{number}", ONE, NOW + timedelta(seconds=number))
    taken = counter.take()
    assert len(taken) == 11
    assert sum(one.pulls for one in taken.values()) == 100
    assert taken[Pulled("team/app", "", "")] == PullCount(90, NOW + timedelta(seconds=99))
    counter.give_back(taken)
    assert counter.take() == taken


def test_sums_of_a_repository() -> None:
    later, latest = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    counts = {
        ("v1", ONE): PullCount(2, NOW),
        ("v1", TWO): PullCount(3, later),
        ("", TWO): PullCount(5, latest),
    }
    sums = sum_pulls(counts)
    assert sums.of_tag("v1", TWO) == PullCount(10, latest)
    assert sums.of_tag("v1", ONE) == PullCount(5, later)
    assert sums.of_tag("v2", TWO) == PullCount(5, latest)  # as much the pulled one's as v1's
    assert sums.of_tag("v2", ONE) is None
    assert (sums.last_of_manifest(ONE), sums.last_of_manifest(TWO)) == (NOW, latest)
    assert sums.last_of_tag("v2", ONE) is None
    unsure = sum_pulls({**counts, ("", ""): PullCount(1, latest)})
    assert unsure.last_of_tag("v2", ONE) == latest  # it may have been this one
    assert unsure.last_of_manifest(ONE) == latest
    assert unsure.of_tag("v2", ONE) is None


def test_several_processes_add_up(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    other = open_again()
    catalog.pulls.record(_counted(("team/app", "v1", ONE), ("team/app", "v1", ONE), ("other", "", TWO)))
    other.pulls.record(_counted(("team/app", "v1", ONE), at=NOW + timedelta(days=1)))
    for one in (catalog, other):
        assert one.pulls.read_one("team/app") == {("v1", ONE): PullCount(3, NOW + timedelta(days=1))}
        assert one.pulls.read(["other", "nobody"]) == {"other": {("", TWO): PullCount(1, NOW)}}
    assert catalog.pulls.read_one("nobody") == {}
    asked = catalog.query.run("SELECT repository, tag, digest, pulls, last_pulled_at FROM pulls ORDER BY 1")
    assert asked.to_pydict()["pulls"] == [1, 3]


@pytest.mark.embedded
def test_a_write_of_pulls_makes_no_version_and_costs_others_one_query(
    catalog: Catalog, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_again()
    asked: list[str] = []
    read = Lake.read
    monkeypatch.setattr(Lake, "read", lambda lake, sql, *rest: asked.append(sql) or read(lake, sql, *rest))  # type: ignore[func-returns-value]
    catalog.pulls.record(_counted(("team/app", "v1", ONE)))
    assert catalog.snapshots.is_current()  # no request of the writer's reads the change feed
    asked.clear()
    assert not other.snapshots.is_current()
    other.snapshots.refresh()
    assert other.snapshots.is_current()
    assert len(asked) == 1
    assert other.snapshots.names() == ()


def test_compaction_keeps_every_sum(catalog: Catalog) -> None:
    chance = random.Random(7)
    pulls = Pulls(catalog._lake)
    for day in range(40):
        at = NOW + timedelta(days=day)
        some = [("team/app", f"v{chance.randrange(4)}", chance.choice((ONE, TWO))) for _ in range(5)]
        pulls.record(_counted(*some, ("other", "", ONE), at=at))
        pulls.record(_counted(("team/app", "v1", ONE), at=at))
    before = catalog.pulls.read(["team/app", "other"])
    today = date(2026, 2, 1) + timedelta(days=DAYS_APART)
    gone = pulls.compact(today)
    assert gone > 0
    assert catalog.pulls.read(["team/app", "other"]) == before
    days = "SELECT day, count(*) FROM pulls WHERE repository = 'other' GROUP BY day ORDER BY day"
    assert [row[1] for row in catalog._lake.read(days)] == [1] * 11  # all before February, and ten days of it
    assert pulls.compact(today) == 0
    pulls.record(_counted(("team/app", "v1", ONE), at=NOW + timedelta(days=39)))
    pulls.compact(date(2027, 4, 1))
    assert sum(one.pulls for one in catalog.pulls.read_one("team/app").values()) == 241
    assert catalog._lake.read("SELECT count(*) FROM pulls WHERE repository = 'other'") == [(1,)]


def test_the_catalogue_compacts_by_its_clock(open_again: Callable[..., Catalog]) -> None:
    catalog = open_again()
    for _ in range(5):
        catalog.pulls.record(_counted(("team/app", "v1", ONE)))
    assert _compacted(catalog) == 4
    assert catalog.pulls.read_one("team/app") == {("v1", ONE): PullCount(5, NOW)}
    assert _compacted(catalog) == 0


def _compacted(catalog: Catalog) -> int:
    steps = catalog.maintenance.steps(keep_snapshots=1e9, grace=1e9)
    return next(step.done for step in steps if step.name == "compact-pulls")
