"""Reading beside another process that writes rows out of the bookkeeping into files."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.lake.connection import Lake
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
    """A home that several releases have upgraded: tables of it have had more than one shape."""
    with monkeypatch.context() as patch:
        patch.setattr("catalog.lake.connection.SCHEMA_VERSION", 1)
        Lake(home / "catalog" / "catalog.sqlite", memory="256MB", threads=1, lock_timeout=10).close()
    return home


def in_another_process(home: Path, statement: str) -> None:
    subprocess.run([sys.executable, "-c", OTHER, str(home), statement], check=True, cwd=ROOT, timeout=120)


def test_a_reader_never_notices_a_flush(catalog: Catalog, home: Path) -> None:
    push_image(catalog, "team/app", "a", "one")
    ended, faults = threading.Event(), list[Exception]()

    def read_on() -> None:
        while not ended.is_set():
            try:
                catalog._lake.read(ROWS)
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
    assert catalog._lake.read(ROWS) == [(10,)]


@pytest.mark.embedded
def test_a_flush_that_was_killed_before_it_told_is_told_by_the_reader(
    catalog: Catalog, home: Path, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    push_image(catalog, "team/app", "a", "one")
    second = open_again()
    assert second._lake.read(ROWS) == [(5,)]
    in_another_process(home, "catalog._lake._renew_schema = lambda: None; catalog._lake.flush('records')")
    renewed: list[None] = []
    renew = catalog._lake._renew_schema

    def counted() -> None:
        renewed.append(None)
        renew()

    monkeypatch.setattr(catalog._lake, "_renew_schema", counted)
    assert [catalog._lake.read(ROWS), second._lake.read(ROWS)] == [[(10,)], [(10,)]]
    assert len(renewed) == 1
    for _ in range(2):
        with pytest.raises(CatalogUnusable):
            catalog._lake.read("SELECT * FROM nowhere")
    assert len(renewed) == 1
