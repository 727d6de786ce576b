"""Which database the settings open, and what is said where its driver is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from catalog.database.opening import open_postgres
from catalog.settings import read_settings
from oci.errors import CatalogUnusable
from tests.servers import ROOT


def test_files_need_no_database(tmp_path: Path) -> None:
    assert open_postgres(read_settings(home=tmp_path)) is None


def test_the_extra_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "catalog.database.postgresql", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    settings = read_settings(home=tmp_path, catalog="postgresql://u@127.0.0.1:1/x")
    with pytest.raises(CatalogUnusable, match=r"pip install 'entrepot\[postgresql\]'"):
        open_postgres(settings)


def test_state_in_files_loads_no_driver(tmp_path: Path) -> None:
    code = (
        "import sys; from catalog.settings import read_settings; from catalog.state.shared_state import open_state; "
        "from catalog.state.documents import open_document; assert open_state(read_settings()) is None; "
        "print(sorted(name for name in sys.modules if name.startswith('psycopg')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", tmp_path
