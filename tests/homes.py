"""New homes of our registry, copied from one that a first start has made: making a catalogue takes longer than most tests."""

import functools
import os
import tempfile
from pathlib import Path

import pytest

from catalog.access.store import ensure_administrator
from catalog.catalog import open_catalog
from catalog.settings import read_settings


def new_home(home: Path, *, administrator: bool = False) -> Path:
    """Make `home`, which is not there yet, with an empty catalogue, and with the administrator where wanted; return it."""
    home.mkdir(parents=True, mode=0o700)
    for name, content in _files(administrator).items():
        file = home / name
        file.parent.mkdir(exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_bytes(content)
    return home


@functools.cache
def _files(administrator: bool) -> dict[str, bytes]:
    """Return what is in a home after its first start by default settings, but for the ballast, which each disk has its own of."""
    with tempfile.TemporaryDirectory(prefix="entrepot-home-") as folder, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ENTREPOT_")]:
            patch.delenv(name)
        settings = read_settings(home=Path(folder) / "entrepot")
        open_catalog(settings).close()
        if administrator:
            ensure_administrator(settings)
        files = [path for path in settings.root.rglob("*") if path.is_file() and path.name != "ballast"]
        return {str(path.relative_to(settings.root)): path.read_bytes() for path in files}
