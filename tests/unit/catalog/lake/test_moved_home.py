"""A home that was moved or copied is the same installation."""

import shutil
from pathlib import Path

import duckdb
import pytest

from catalog.catalog import Catalog
from catalog.lake.duckdb_instance import load_extensions
from catalog.lake.metadata.sqlite import SqliteMetadata
from catalog.settings import read_settings
from tests.unit.catalog.conftest import push_image


@pytest.mark.embedded
def test_a_home_that_was_moved_opens_and_goes_on(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new's"
    with Catalog(read_settings(home=old)) as catalog:
        push_image(catalog, "team/app", "before", "before")
        catalog._lake.cursor().execute("CALL ducklake_flush_inlined_data('lake')")
        assert list((old / "catalog" / "data").rglob("*.parquet"))
    shutil.move(old, new)
    with Catalog(read_settings(home=new)) as catalog:
        push_image(catalog, "team/app", "after", "after")
        assert catalog.snapshots.get("team/app").tags.keys() == {"before", "after"}
        assert catalog.query.run("SELECT tag FROM tags ORDER BY tag").to_pylist() == [
            {"tag": "after"},
            {"tag": "before"},
        ]


@pytest.mark.embedded
def test_other_programs_find_the_rows_of_a_moved_home(tmp_path: Path) -> None:
    with Catalog(read_settings(home=tmp_path / "old")) as catalog:
        push_image(catalog, "team/app", "v1", "v1")
        catalog._lake.cursor().execute("CALL ducklake_flush_inlined_data('lake')")
    shutil.move(tmp_path / "old", tmp_path / "new")
    Catalog(read_settings(home=tmp_path / "new")).close()
    plain = duckdb.connect()
    load_extensions(plain, SqliteMetadata.extensions)
    plain.execute(f"ATTACH 'ducklake:sqlite:{tmp_path}/new/catalog/catalog.sqlite' AS lake (READ_ONLY)")
    assert plain.execute("SELECT count(*) FROM lake.tags").fetchall() == [(1,)]
