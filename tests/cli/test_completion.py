"""Shell completion over a small home: names, versions and tags; silence where there is no home."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from cli.main import app
from tests.unit.catalog.conftest import push_image


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "entrepot"
    with open_catalog(read_settings(home=home)) as catalog:
        push_image(catalog, "team/app", "1.0", "a")
        push_image(catalog, "team/app", "1.1", "b")
        push_image(catalog, "other/app", "2.0", "c")
    return home


def complete(home: Path, line: str) -> list[str]:
    """Ask as bash does; the last word is the one being typed."""
    words = line.split(" ")
    env = {
        "_ENTREPOT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "ENTREPOT_HOME": str(home),
    }
    ended = CliRunner().invoke(app, [], prog_name="entrepot", env=env)
    assert ended.stderr == ""
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("entrepot tag list ", ["other/app", "team/app"]),
        ("entrepot tag list te", ["team/app"]),
        ("entrepot version show team/app ", ["2", "1"]),
        ("entrepot version diff team/app@", ["team/app@2", "team/app@1"]),
        ("entrepot verify team/app:1.", ["team/app:1.0", "team/app:1.1"]),
        ("entrepot verify o'; --", []),
    ],
)
def test_names_versions_and_tags_are_completed(home: Path, line: str, expected: list[str]) -> None:
    assert complete(home, line) == expected


def test_without_a_home_nothing_is_said_or_made(tmp_path: Path) -> None:
    assert complete(tmp_path / "none", "entrepot tag list ") == []
    assert not (tmp_path / "none").exists()
