"""Reading beside another process that writes rows out of the bookkeeping into files."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import catalog.lake.connection
from catalog.catalog import Catalog
from catalog.lake.schema import SCHEMA_VERSION
from catalog.settings import read_settings
from oci.errors import CatalogUnusable
from tests.servers import ROOT
from tests.unit.catalog.conftest import push_image

ROWS = "SELECT count(*) FROM records WHERE repository = 'team/app'"

OTHER = """
import sys
from pathlib import Path
from catalog.catalog import Catalog
from catalog.settings import read_settings
from tests.unit.catalog.conftest import push_image

with Catalog(read_settings(home=Path(sys.argv[1]))) as catalog:
    push_image(catalog, "team/app", "b", "two")
    exec(sys.argv[2])
"""


@pytest.fixture
def home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that the release before has made: its tables have rows of former shapes apart, which a flush drops."""
    with monkeypatch.context() as before:
        before.setattr(catalog.lake.connection, "SCHEMA_VERSION", SCHEMA_VERSION - 1)
        Catalog(read_settings(home=home)).close()
    return home


def in_another_process(home: Path, statement: str) -> None:
    subprocess.run([sys.executable, "-c", OTHER, str(home), statement], check=True, cwd=ROOT, timeout=120)


def test_a_reader_never_notices_a_flush(home: Path, open_again: Callable[..., Catalog]) -> None:
    opened = open_again()
    push_image(opened, "team/app", "a", "one")
    ended, faults = threading.Event(), list[Exception]()

    def read_on() -> None:
        while not ended.is_set():
            try:
                opened._lake.read(ROWS)
            except Exception as error:  # noqa: BLE001  # each is a failure of the test
                faults.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        in_another_process(home, "[catalog._lake.flush(table) for table in ('sources', 'records', 'pulls') * 3]")
    finally:
        ended.set()
        reader.join()
    assert faults == []
    assert opened._lake.read(ROWS) == [(10,)]


def test_a_flush_that_was_killed_before_it_told_is_told_by_the_reader(
    home: Path, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, second = open_again(), open_again()
    push_image(opened, "team/app", "a", "one")
    assert second._lake.read(ROWS) == [(5,)]
    in_another_process(home, "catalog._lake._renew_schema = lambda: None; catalog._lake.flush('records')")
    renewed: list[None] = []
    renew = opened._lake._renew_schema

    def counted() -> None:
        renewed.append(None)
        renew()

    monkeypatch.setattr(opened._lake, "_renew_schema", counted)
    assert [opened._lake.read(ROWS), second._lake.read(ROWS)] == [[(10,)], [(10,)]]
    assert len(renewed) == 1
    for _ in range(2):
        with pytest.raises(CatalogUnusable):
            opened._lake.read("SELECT * FROM nowhere")
    assert len(renewed) == 1
