"""Nothing outside of the folder is read, and nothing but plain files is."""

import os
from pathlib import Path

import pytest

from oci.errors import RemoteCorrupt, RemoteRefused
from oci.folders.contained import ContainedFolder, shown_name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "inner").mkdir(parents=True)
    (tmp_path / "root" / "inner" / "file").write_bytes(b"within")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    return tmp_path / "root"


def test_what_lies_within_is_read(root: Path) -> None:
    folder = ContainedFolder(root)
    assert folder.read("inner", "file", limit=6) == b"within"
    assert folder.size("inner", "file") == 6
    assert folder.size("inner", "other") is None
    assert folder.subfolders() == ["inner"]
    assert folder.files("inner") == ["file"]
    assert folder.subfolders("absent") == []
    assert ContainedFolder(root, ("inner",)).read("file", limit=6) == b"within"


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "named").symlink_to(root)
    assert ContainedFolder(tmp_path / "named").files("inner") == ["file"]


@pytest.mark.parametrize("parts", [("link", "secret"), ("inner", "link")])
def test_no_link_is_followed_on_the_way_or_at_its_end(root: Path, tmp_path: Path, parts: tuple[str, ...]) -> None:
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "inner" / "link").symlink_to(tmp_path / "outside" / "secret")
    folder = ContainedFolder(root)
    with pytest.raises(RemoteCorrupt, match="a link"):
        folder.read(*parts, limit=100)
    assert folder.subfolders() == ["inner"]
    assert folder.links() == ["link"]


def test_a_link_to_what_lies_within_is_none_that_is_followed_either(root: Path) -> None:
    (root / "again").symlink_to("inner")
    with pytest.raises(RemoteCorrupt):
        ContainedFolder(root).read("again", "file", limit=100)


@pytest.mark.parametrize("part", ["..", ".", "", "a/b", "a\0b"])
def test_a_part_is_one_name(root: Path, part: str) -> None:
    with pytest.raises(RemoteCorrupt, match="no name of a file"):
        ContainedFolder(root).read(part, "secret", limit=100)


def test_a_pipe_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(RemoteCorrupt):
        ContainedFolder(root).read("pipe", limit=100)


def test_a_file_above_the_limit_is_not_held_in_memory(root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(1 << 40)  # of holes alone
    with pytest.raises(RemoteCorrupt, match="larger than the limit of 100 bytes"):
        ContainedFolder(root).read("huge", limit=100)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(root: Path) -> None:
    (root / "inner").chmod(0)
    try:
        with pytest.raises(RemoteRefused, match="Permission denied"):
            ContainedFolder(root).files("inner")
    finally:
        (root / "inner").chmod(0o755)


def test_names_are_shown_without_what_moves_a_cursor() -> None:
    assert shown_name("a\x1b[2Jb\ud800") == "a\\x1b[2Jb\\ud800"
    assert len(shown_name("a" * 1000)) == 300
