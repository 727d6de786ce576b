"""A catalogue that cannot be opened leaves nothing open, whichever step fails."""

import os
import threading
from pathlib import Path

import pytest

from catalog import catalog as module
from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from catalog.settings import read_settings
from oci.errors import CatalogUnusable
from tests.homes import new_home
from tests.postgresql import PostgresServer
from tests.servers import wait_until


def open_files(folder: Path) -> set[str]:
    """Return the files below a folder that this process has open."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(descriptor.readlink()))
        except OSError:
            continue
    return {file for file in found if file.startswith(f"{folder}{os.sep}")}


def fail(*_: object, **__: object) -> None:
    raise CatalogUnusable("a fault of the test")


@pytest.mark.parametrize("step", ["open_lake", "_migrate", "open_index", "grant_rights_of_older_releases"])
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_what_was_opened_is_closed(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, step: str
) -> None:
    changes: dict[str, object] = {}
    if engine == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
        changes = {"catalog": url, "catalog_password": PostgresServer.password}
    settings = read_settings(home=new_home(tmp_path / "entrepot"), **changes)
    threads = set(threading.enumerate())
    monkeypatch.setattr(Lake if step == "_migrate" else module, step, fail)
    with pytest.raises(CatalogUnusable, match="a fault of the test"):
        Catalog(settings)
    assert open_files(settings.root) == set()
    if engine == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        sql = f"SELECT application_name FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
        wait_until(lambda: server.execute(sql) == [], 5, "no session is left")
        wait_until(lambda: set(threading.enumerate()) <= threads, 5, "no thread is left")
    monkeypatch.undo()
    Catalog(settings).close()
