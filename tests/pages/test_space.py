"""The page of space: computed when an administrator asks, kept, and broken down by the parts of names."""

import time
from pathlib import Path

import pytest

from catalog.space.report import RepositorySpace
from registry_api.pages.administration.space import group_repositories
from registry_api.pages.framework.treemap import Rectangle, draw_treemap, squarify
from tests.pages.conftest import Shown, form_token_of


def test_an_administrator_computes_the_report_and_all_read_it(shown: Shown) -> None:
    client = shown.administrator()
    answer = client.post("/space", data={"form_token": form_token_of(client.get("/space").text)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/space")
    deadline = time.monotonic() + 120
    while (found := client.get("/space.json").json())["running_since"] is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    usage = shown.api.catalog.maintenance.usage()
    assert found["totals"]["held"] == usage.held
    assert found["totals"]["saved"] == usage.saved
    assert sum(row["bytes"] for row in found["rows"]) == sum(one.bytes for one in usage.repositories)
    assert (found["running_since"], found["error"]) == (None, "")
    assert found["gc"]["blobs"] == shown.api.catalog.maintenance.sweep(grace=86400.0, dry_run=True).freed_blobs
    team = client.get("/space.json", params={"prefix": "team"}).json()
    assert [row["name"] for row in team["rows"]] == ["team/server"]
    page = client.get("/space").text
    assert page.count("<svg class=") == 2
    assert "/repository/team/server" in client.get("/space?prefix=team").text


def test_who_may_not_compute_it_changes_nothing(shown: Shown) -> None:
    client = shown.logged_in("bob")
    token = form_token_of(client.get("/").text)
    assert client.post("/space", data={"form_token": token}).status_code == 403
    other = shown.administrator()
    assert other.post("/space", data={"form_token": token}).status_code == 403
    assert other.post("/space").status_code == 403
    assert shown.visitor().post("/space").status_code in {401, 403, 404}


def test_repositories_are_grouped_by_the_next_part_of_their_names() -> None:
    some = [RepositorySpace(name=name, bytes=size, shared=1) for name, size in
            (("a/x", 5), ("a/y/z", 7), ("a", 2), ("b", 9), ("ab/x", 1))]  # fmt: skip
    rows = [(row.name, row.is_group, row.bytes, row.repositories) for row in group_repositories(some, "")]
    assert rows == [("a", True, 12, 2), ("b", False, 9, 1), ("a", False, 2, 1), ("ab", True, 1, 1)]
    assert [(row.name, row.is_group) for row in group_repositories(some, "a")] == [("a/y", True), ("a/x", False)]


@pytest.mark.parametrize("sizes", [[6, 6, 4, 3, 2, 2, 1], [1], [1] * 60, [10**12, 1], []])
def test_a_treemap_fills_its_area_in_proportion(sizes: list[int]) -> None:
    area = Rectangle(0, 0, 600, 400)
    placed = squarify(sizes, area)
    assert len(placed) == len(sizes)
    for size, place in zip(sizes, placed, strict=True):
        assert place.width * place.height == pytest.approx(size / sum(sizes) * 240_000, rel=1e-6, abs=1e-3)
        assert place.x >= -1e-6
        assert place.x + place.width <= 600 + 1e-6
        assert place.y + place.height <= 400 + 1e-6


def test_names_in_a_treemap_are_text() -> None:
    drawn = draw_treemap([('"><script>', 10, 4, "/space?prefix=%22"), ("none", 0, 0, "")], "wide")
    assert "<script>" not in drawn
    assert 'tabindex="-1"' in drawn
    assert "none" not in drawn


def test_the_report_is_private(shown: Shown) -> None:
    file = Path(shown.api.catalog.settings.root) / "space-report.json"
    if file.exists():
        assert file.stat().st_mode & 0o077 == 0
