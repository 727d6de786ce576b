"""The whole command tree's help: a panel, a first line that fits, an example whose options exist."""

import shlex
import subprocess
import sys

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from cli.help_panels import PANELS, panel_of
from cli.main import new_app
from scripts.docs import commands, option_names

LEAVES = {words: command for words, command in commands().items() if not isinstance(command, TyperGroup)}


def test_each_command_of_the_first_level_has_a_panel() -> None:
    found = {words: panel_of(command) for words, command in commands().items() if len(words) == 2}
    assert {words for words, panel in found.items() if panel not in PANELS} == set()
    assert set(found.values()) == set(PANELS)


@pytest.mark.parametrize("words", [words for words in commands() if len(words) > 1], ids=" ".join)
def test_first_line_is_at_most_60_characters(words: tuple[str, ...]) -> None:
    assert 0 < len((commands()[words].help or "").partition("\n")[0]) <= 60


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_example_is_of_the_command_and_stays_on_one_line(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(new_app(), [*words[1:], "--help"], env={"COLUMNS": "80"}).stdout
    (example,) = [line.strip() for line in shown.splitlines() if line.strip().startswith("Example: ")]
    given = shlex.split(example.removeprefix("Example: "))
    assert tuple(given[: len(words)]) == words
    assert {part for part in given if part.startswith("-")} - option_names(LEAVES[words]) == set()
    LEAVES[words].make_context(words[-1], given[len(words) :])


def test_help_shows_each_first_line_whole_under_its_panel() -> None:
    shown = CliRunner().invoke(new_app(), ["--help"], env={"COLUMNS": "80"}).stdout
    assert [line[:-1] for line in shown.splitlines() if line[:-1] in PANELS] == list(PANELS)
    assert "..." not in shown.partition("Operate:")[2]
    group = typer.main.get_command(new_app())
    assert isinstance(group, TyperGroup)
    flat = " ".join(shown.split())
    assert [c.help for c in group.commands.values() if (c.help or "").partition("\n")[0] not in flat] == []


def test_help_imports_no_prefect() -> None:
    code = (
        "import sys\nfrom cli.main import run\nrun(['--help'])\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('prefect', 'duckdb', 'fastapi')], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[]"
