"""Pinning and deleting versions and repositories, and comparing repositories, by the command."""

from pathlib import Path

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.settings import read_settings
from tests.cli.commands import Entrepot
from tests.homes import new_home
from tests.servers import Children
from tests.unit.catalog.conftest import push_image

NAME = "team/app"


@pytest.fixture
def entrepot(tmp_path: Path, children: Children) -> Entrepot:
    """Five versions of one repository, one of another."""
    entrepot = Entrepot(new_home(tmp_path / "entrepot"), children)
    with opened(entrepot) as catalog:
        for number in range(1, 6):
            push_image(catalog, NAME, "a", str(number))
        push_image(catalog, "other/app", "a", "5")
    return entrepot


def opened(entrepot: Entrepot) -> Catalog:
    return open_catalog(read_settings(home=entrepot.home))


def test_versions_are_pinned_compared_and_deleted(entrepot: Entrepot) -> None:
    assert entrepot.json("version", "pin", NAME, "2", "--note", "release 1.4")["note"] == "release 1.4"
    assert [row["number"] for row in entrepot.json("version", "list", NAME) if row["pinned"]] == [2]
    refused = entrepot("version", "delete", NAME, "1-3")
    assert (refused.returncode, "release 1.4" in refused.stderr) == (1, True)
    entrepot.json("version", "unpin", NAME, "2")
    planned = entrepot.json("version", "delete", NAME, "1-3", "--dry-run")
    assert (planned["deleted"], planned["dry_run"], planned["free_blobs"]) == ([1, 2, 3], True, 0)
    done = entrepot("version", "delete", NAME, "1", "2-3")
    assert "deleted 3 version(s) of team/app: 1, 2, 3" in done.stdout
    with opened(entrepot) as catalog:
        assert [row.number for row in catalog.history.versions(NAME)] == [5, 4]
    assert entrepot("version", "delete", NAME, "x").returncode == 2
    found = entrepot.json("version", "diff", f"{NAME}@4", "other/app")
    assert (found["new_repository"], list(found["tags_moved"])) == ("other/app", ["a"])
    assert entrepot("version", "diff", f"{NAME}@4", "other/app", "3").returncode == 2


def test_a_repository_is_deleted(entrepot: Entrepot) -> None:
    planned = entrepot.json("repository", "delete", NAME, "--dry-run")
    assert planned["free_blobs"] == 12  # what the fifth image is made of, the other repository has too
    assert entrepot.json("repository", "delete", NAME)["deleted"] == [1, 2, 3, 4, 5]
    assert [row["name"] for row in entrepot.json("repository", "list")] == ["other/app"]
    assert [row["path"] for row in entrepot.json("distribution", "list")] == ["other/app"]
