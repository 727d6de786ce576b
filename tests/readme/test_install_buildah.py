"""`make run` installs buildah where it can, says so, and goes on without it."""

import os
import subprocess
from pathlib import Path

from tests.servers import ROOT


def run(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a PATH of the shell's programs and those that are given, as scripts."""
    folder.mkdir()
    made = {name.replace("_", "-"): text for name, text in programs.items()}
    for name in {"bash", "env", "dirname", "id", "mktemp", "rm", "sleep", "tail"} - made.keys():
        found = next(Path(place, name) for place in os.environ["PATH"].split(":") if Path(place, name).exists())
        (folder / name).symlink_to(found)
    for name, text in made.items():
        with (folder / name).open("x") as program:  # never through a link to a program of the system
            program.write(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return subprocess.run(
        [ROOT / "scripts" / "install-buildah"], env={"PATH": str(folder)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_root_gets_it_and_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ended = run(tmp_path / "bin", apt_get=f'echo "$*" >> {log}', id="echo 0")
    assert ended.stderr == "Installing buildah by apt, for the build step …\n"
    assert [line for line in log.read_text().splitlines() if line.endswith("--no-install-recommends buildah")]


def test_who_is_not_root_is_told_what_to_run(tmp_path: Path) -> None:
    ended = run(tmp_path / "bin", apt_get="exit 7", id="echo 1000", sudo="exit 1")
    assert ended.stderr.endswith("Run: sudo apt-get install buildah\n")


def test_an_apt_that_fails_costs_the_build_alone(tmp_path: Path) -> None:
    ended = run(tmp_path / "bin", apt_get="exit 7", id="echo 0", sleep="exit 0")
    assert ended.stderr.endswith("buildah could not be installed, so the build is left out.\n")


def test_nothing_is_said_where_it_is_installed(tmp_path: Path) -> None:
    ended = run(tmp_path / "bin", buildah="exit 0", apt_get="exit 7")
    assert (ended.stdout, ended.stderr) == ("", "")
