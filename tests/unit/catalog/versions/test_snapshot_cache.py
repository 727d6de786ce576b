"""The memory of versions is bounded by what they hold, not by how many there are."""

from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from tests.homes import new_home
from tests.unit.catalog.conftest import push_image


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
