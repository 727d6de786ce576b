"""The home is its owner's alone, also one that was there before with other rights."""

import logging
import stat
from pathlib import Path

import pytest

from catalog.access.store import ensure_administrator
from catalog.catalog import open_catalog
from catalog.private_home import keep_private
from catalog.settings import read_settings


def open_to_others(folder: Path) -> set[str]:
    found = [folder, *folder.iterdir(), *(folder / "catalog").iterdir()]
    return {path.name for path in found if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077}


def test_a_new_home_is_private_whatever_opens_it_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = tmp_path / "a" / "entrepot"
    with caplog.at_level(logging.WARNING), open_catalog(read_settings(home=home)):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert open_to_others(home) == set()
    assert caplog.records == []


def test_a_home_that_was_open_is_closed_and_that_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = tmp_path / "entrepot"
    settings = read_settings(home=home)
    ensure_administrator(settings)
    open_catalog(settings).close()
    outside = tmp_path / "outside"
    outside.write_text("not ours to change")
    outside.chmod(0o644)
    (home / "link").symlink_to(outside)
    home.chmod(0o755)
    for path in (*home.iterdir(), *(home / "catalog").iterdir()):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    with caplog.at_level(logging.WARNING):
        assert ensure_administrator(settings) is None
    assert open_to_others(home) == set()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    told = "\n".join(record.getMessage() for record in caplog.records)
    for name in ("access.json", "admin-password", "catalog.sqlite", "holdings.sqlite"):
        assert f"{name} was=644" in told
    assert f"path={home} was=755" in told
    assert keep_private(settings) == []


def test_the_files_of_a_catalogue_elsewhere_are_closed_and_others_left(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    other = folder / "other.txt"
    other.write_text("somebody else's")
    other.chmod(0o644)
    for name in ("data", "projection", "others"):
        (folder / name).mkdir()
        (folder / name).chmod(0o755)
    settings = read_settings(home=tmp_path / "entrepot", catalog=f"sqlite:{folder}/catalog.sqlite")
    open_catalog(settings).close()
    open_catalog(settings).close()
    assert stat.S_IMODE(other.stat().st_mode) == 0o644
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.suffix == ".sqlite"}
    assert found == {"catalog.sqlite": 0o600, "holdings.sqlite": 0o600}
    folders = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_dir()}
    assert folders == {"data": 0o700, "projection": 0o700, "others": 0o755}
