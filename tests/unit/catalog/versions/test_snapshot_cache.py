"""The memory of versions is bounded by what they hold, not by how many there are."""

from pathlib import Path
from unittest.mock import Mock, patch

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from catalog.versions.changes import RemoveTag
from tests.homes import new_home
from tests.unit.catalog.conftest import commit_to, push_image


def kept(catalog: Catalog) -> list[str]:
    return [name for name, _ in catalog.snapshots._kept]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = new_home(tmp_path / "entrepot")
    with Catalog(read_settings(home=home)) as catalog:
        for name in ("small/a", "small/b", "small/c"):
            push_image(catalog, name, "v1", name)
        for number in range(20):
            push_image(catalog, "large/one", f"v{number}", f"{number}")
    return home


def test_the_least_recently_used_go_when_there_is_too_much(home: Path) -> None:
    with Catalog(read_settings(home=home, snapshot_entries=45)) as catalog:
        for name in ("small/a", "small/b", "small/c", "small/b"):
            catalog.snapshots.get(name)
        assert kept(catalog) == ["small/a", "small/c", "small/b"]
        assert len(catalog.snapshots.get("large/one").tags) == 20
        assert kept(catalog) == ["large/one"], "one that is too large is kept alone"
        catalog.snapshots.get("small/a")
        assert kept(catalog) == ["small/a"]


def test_a_version_that_is_remembered_again_is_counted_once(home: Path) -> None:
    with Catalog(read_settings(home=home, snapshot_entries=1000)) as catalog:
        for _ in range(3):
            snapshot = catalog.snapshots.get("large/one")
            catalog.snapshots._remember(snapshot)
        held = len(snapshot.tags) + len(snapshot.manifests) + len(snapshot.blobs)
        assert held <= catalog.snapshots._held < 2 * held


def test_versions_that_are_read_together_equal_those_read_one_by_one(home: Path) -> None:
    with Catalog(read_settings(home=home)) as catalog:
        commit_to(catalog, "small/a", RemoveTag("v1"))
        push_image(catalog, "small/b", "v1", "another")
        names = ("small/a", "small/b", "large/one", "small/none")
        numbers = {"small/a": 2, "small/b": 2, "large/one": 20}
        with Catalog(read_settings(home=home)) as other:
            assert other.snapshots.preload(names) == numbers
            assert set(kept(other)) == numbers.keys()
            read = Mock(side_effect=AssertionError("a query was made"))
            with patch.object(other._lake, "read", read):
                found = {name: other.snapshots.get(name) for name in numbers}
                assert other.snapshots.preload(names) == numbers
            assert found == {name: catalog.snapshots.get(name) for name in numbers}
            assert other.snapshots._read_many({"small/a": 7, "small/none": 1}) == []
            children = {name: other.history.children(name) for name in numbers}
            assert other.history.children_of_many(names) == children
