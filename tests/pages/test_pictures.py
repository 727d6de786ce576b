"""The pictures of the tutorial: there, small enough, and taken again by one command."""

import re
import struct
from pathlib import Path

import pytest

from tests.pages.pictures import FOLDER, LARGEST, PICTURES, SIZE, take_pictures
from tests.servers import ROOT, tool


def width_of(file: Path) -> int:
    """Return the width that a PNG states."""
    start = file.read_bytes()[:24]
    assert start.startswith(b"\x89PNG\r\n\x1a\n")
    width: int = struct.unpack(">I", start[16:20])[0]
    return width


def check(folder: Path) -> None:
    assert {file.stem for file in folder.iterdir()} == PICTURES.keys()
    for file in folder.iterdir():
        assert width_of(file) == SIZE["width"]
        assert 10_000 < file.stat().st_size <= LARGEST


def test_the_pictures_of_the_documentation_are_shown() -> None:
    check(FOLDER)
    shown = re.findall(r"!\[[^\]]+\]\(pictures/(\w+)\.png\)", (ROOT / "docs" / "tutorial.md").read_text())
    assert sorted(shown) == sorted(PICTURES)


@pytest.mark.slow
def test_pictures_are_taken_by_one_command(tmp_path: Path) -> None:
    tool("chromium")
    taken = tmp_path / "pictures"
    taken.mkdir()
    take_pictures(taken)
    check(taken)
