"""New homes of our registry, copied from one that a first start has made: making a catalogue takes longer than most tests."""

import functools
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.access.bearer_tokens import make_key
from catalog.access.policy import Policy
from catalog.access.store import ensure_administrator, make_secret
from catalog.catalog import open_catalog
from catalog.settings import read_settings
from tests.on_postgresql import PORT


def new_home(home: Path, *, administrator: bool = False) -> Path:
    """Make `home`, which has no catalogue yet, with an empty one, and with the administrator where wanted; return it."""
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    if PORT in os.environ:  # what a home has is in a database of its own, which the first start fills
        _start_first(home, administrator)
        return home
    for name, content in _files(administrator).items():
        file = home / name
        file.parent.mkdir(exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_bytes(content)
    if administrator:
        _make_own(home / "access.json")
    return home


def _make_own(file: Path) -> None:
    """Give a home a mark and a key of its own: the registries of two homes must not take each other for themselves."""
    policy, now = Policy.model_validate_json(file.read_bytes()), datetime.now(UTC)
    accounts = {name: one.model_copy(update={"stamp": make_secret()}) for name, one in policy.accounts.items()}
    own = policy.model_copy(update={"accounts": accounts, "keys": (make_key(now),)})
    file.write_text(own.model_dump_json(indent=1) + "\n")


@functools.cache
def _files(administrator: bool) -> dict[str, bytes]:
    """Return what is in a home after its first start by default settings, but for the ballast, which each disk has its own of."""
    with tempfile.TemporaryDirectory(prefix="entrepot-home-") as folder, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ENTREPOT_")]:
            patch.delenv(name)
        home = Path(folder) / "entrepot"
        _start_first(home, administrator)
        files = [path for path in home.rglob("*") if path.is_file() and path.name != "ballast"]
        return {str(path.relative_to(home)): path.read_bytes() for path in files}


def _start_first(home: Path, administrator: bool) -> None:
    settings = read_settings(home=home)
    open_catalog(settings).close()
    if administrator:
        ensure_administrator(settings)
