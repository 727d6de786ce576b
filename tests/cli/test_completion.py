"""Shell completion over a small home: names, versions and tags; silence where there is no home."""

import os
import pty
import select
import shutil
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from cli.completion import join_words
from cli.main import new_app
from tests.servers import ROOT
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
    ended = CliRunner().invoke(new_app(), [], prog_name="entrepot", env=env)
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


@pytest.mark.parametrize(
    ("words", "joined", "kept"),
    [
        (["entrepot", "verify", "team"], ["entrepot", "verify", "team"], ""),
        (["entrepot", "verify", "team/app", ":", "1."], ["entrepot", "verify", "team/app:1."], "team/app:"),
        (["entrepot", "verify", "team/app", ":"], ["entrepot", "verify", "team/app:"], "team/app:"),
        (["entrepot", "diff", "a", "@", "1", "b", "@"], ["entrepot", "diff", "a@1", "b@"], "b"),
        (["entrepot", "diff", "a", "@", "1"], ["entrepot", "diff", "a@1"], "a"),
        (["entrepot", "gc", "--home", "=", "x"], ["entrepot", "gc", "--home=x"], "--home="),
        (["entrepot", "verify", "a", ":", ""], ["entrepot", "verify", "a:", ""], ""),
    ],
)
def test_words_that_bash_has_split_are_joined(words: list[str], joined: list[str], kept: str) -> None:
    assert join_words(words, len(words) - 1) == (joined, kept)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("verify other/app:2", "verify other/app:2.0"),
        ("version diff other/app@", "version diff other/app@1"),
    ],
)
def test_in_a_real_bash(home: Path, tmp_path: Path, typed: str, completed: str) -> None:
    command = tmp_path / "bin" / "entrepot"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec env PYTHONPATH={ROOT} {sys.executable} -m cli.main "$@"\n')
    command.chmod(0o755)
    env = {"PATH": f"{command.parent}:{os.environ['PATH']}", "ENTREPOT_HOME": str(home), "TERM": "dumb", "PS1": "$ "}
    assert f"<entrepot {completed} >" in ask_bash(env, typed, f"<entrepot {completed} >")


def ask_bash(env: dict[str, str], typed: str, expected: str) -> str:
    """Type a line and a tab; return all that the terminal shows once the line that has come of it was echoed."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], env)
    try:
        setup = 'eval "$(entrepot --show-completion bash)"\n'
        # Ctrl-A and Ctrl-E go to the line's ends, so that what was completed is told and not run.
        os.write(terminal, f"{setup}entrepot {typed}\t\x05>'\x01echo '<\n".encode())
        shown, deadline = "", time.monotonic() + 90
        while expected not in shown and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")
        return shown
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
