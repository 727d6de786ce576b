"""Paths of the past, and which version was the latest when."""

from datetime import UTC, datetime, timedelta

import pytest

from catalog.catalog import Catalog
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.time_travel import Past, parse_moment, parse_past
from catalog.versions.timeline import Made, Timeline, parse_numbers
from oci.errors import VersionUnknown
from oci.reference import is_name
from tests.unit.catalog.conftest import commit_to, stage_image

NAME = "team/app"


@pytest.mark.parametrize(
    ("path", "number", "moment"),
    [
        ("history/12/team/app", 12, None),
        ("history/0/team/app", 0, None),
        ("history/2026-11-01/team/app", None, datetime(2026, 11, 1, 23, 59, 59, 999999, UTC)),
        ("history/2026-11-01t12.30z/team/app", None, datetime(2026, 11, 1, 12, 30, 59, 999999, UTC)),
        ("history/2026-11-01t12.30.05z/team/app", None, datetime(2026, 11, 1, 12, 30, 5, 999999, UTC)),
    ],
)
def test_paths_of_the_past(path: str, number: int | None, moment: datetime | None) -> None:
    assert is_name(path)
    assert parse_past(path, "history") == Past(NAME, number, moment)


@pytest.mark.parametrize(
    "path",
    ["history/team/app", "history/012/app", "history/12", "history", "history2/12/app", "team/history/12/app",
     "history/2026-13-01/app", "history/2026-02-30/app", "history/2026-11-01t25.00z/app", "history/2026-1-1/app",
     "history/٣/app"],
)  # fmt: skip
def test_ordinary_paths(path: str) -> None:
    assert parse_past(path, "history") is None
    assert parse_past("history/12/team/app", "") is None


def test_the_end_of_time() -> None:
    assert parse_moment("9999-12-31") is None
    assert parse_moment("0000-01-01") is None


def test_which_was_the_latest_when() -> None:
    def at(minute: int) -> datetime:
        return datetime(2026, 11, 1, 12, minute, tzinfo=UTC)

    timeline = Timeline(
        NAME, [Made(1, at(10), False), Made(2, at(20), True), Made(3, at(15), False), Made(4, at(30), False)]
    )
    found = {minute: timeline.number_at(at(minute)) for minute in (9, 10, 19, 20, 29, 30, 59)}
    assert found == {9: None, 10: 1, 19: 1, 20: 3, 29: 3, 30: 4, 59: 4}  # a clock that went back makes nothing older
    gone = Timeline(NAME, [Made(1, at(10), False), Made(2, at(20), True), Made(4, at(30), False)])
    assert (gone.number_at(at(25)), gone.at(at(5))) == (None, 0)
    with pytest.raises(VersionUnknown, match="version 2 was the latest"):
        gone.at(at(25))


def test_what_the_past_serves_comes_from_memory_the_second_time(catalog: Catalog) -> None:
    start = datetime(2026, 11, 1, 12, tzinfo=UTC)
    for number in range(3):
        image = stage_image(catalog, NAME, str(number))
        commit_to(
            catalog, NAME, AddManifest(image), SetTag("a", image.digest), created_at=start + timedelta(hours=number)
        )
    path = "history/2026-11-01t13.30z/team/app"
    assert catalog.serving.cached(path) is None
    found = catalog.serving.find(path)
    assert found is catalog.serving.cached(path)
    assert found
    assert found.version == 2
    asked = catalog._lake.read
    catalog._lake.read = None  # type: ignore[method-assign, assignment]
    assert catalog.serving.cached("history/2/team/app") is found
    assert catalog.serving.cached(path) is found
    catalog._lake.read = asked  # type: ignore[method-assign]
    catalog.deletion.delete_versions(NAME, parse_numbers(["2"]), actor="tester", now=start)
    assert (
        catalog.serving.cached(path) is catalog.serving.find(path) is catalog.serving.find("history/2/team/app") is None
    )
    for nothing in ("history/9/team/app", "history/0/team/app", "history/1/no/app", "history/2026-10-01/team/app"):
        assert catalog.serving.find(nothing) is None
