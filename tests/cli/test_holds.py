"""Holding, releasing and blocking content by the command."""

from pathlib import Path

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, SetTag
from tests.cli.commands import Entrepot
from tests.homes import new_home
from tests.servers import Children
from tests.unit.catalog.conftest import commit_to, push_image, stage_image


def test_content_is_held_released_and_blocked(tmp_path: Path, children: Children) -> None:
    entrepot = Entrepot(new_home(tmp_path / "entrepot"), children)
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        push_image(catalog, "mirror/app", "v1", "one")
        image = stage_image(catalog, "team/app", "two")
        commit_to(catalog, "team/app", AddManifest(image), SetTag("v1", image.digest), operation="push")
        digest = catalog.snapshots.get("mirror/app").tags["v1"]
    done = entrepot("hold", "set", "**", "1w2d")
    assert (done.returncode, "clients push to team/app" in done.stderr, "9d" in done.stdout) == (0, True, True)
    assert "mirror/app" not in done.stderr
    held = entrepot.json("hold", "list", "--held")["held"]
    assert {(one["path"], one["tags"][0]) for one in held} == {("mirror/app", "v1"), ("team/app", "v1")}
    released = entrepot.json("hold", "release", digest, "--reason", "needed", "--owner", "sec", "--for", "30d")
    assert (released["state"], released["owner"], released["path"]) == ("in force", "sec", "**")
    assert entrepot("hold", "block", digest, "--reason", " ").returncode == 2
    assert entrepot("hold", "release", digest).returncode == 2
    named = entrepot("hold", "release", "mirror/app:v1", "--reason", "needed")
    assert (named.returncode, "`entrepot hold list --held` shows" in named.stderr) == (2, True)
    table = entrepot("hold", "list").stdout
    assert all(text in table for text in ("PATTERN", "release", digest, "in force", "needed"))
    assert [one["path"] for one in entrepot.json("hold", "list", "--held")["held"]] == ["team/app"]
    assert entrepot.json("hold", "withdraw", digest)[0]["action"] == "release"
    assert entrepot("hold", "withdraw", digest).returncode == 1
    assert entrepot("hold", "unset", "**").returncode == 0
    assert entrepot.json("hold", "list") == {"rules": [], "decisions": []}
