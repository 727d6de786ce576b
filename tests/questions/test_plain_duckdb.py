"""The catalogue is readable by others: plain DuckDB with its ducklake extension, and the Parquet files alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from catalog.query.named import named_questions
from catalog.query.views import view_statements
from tests.questions.conftest import Home

PLAIN = """
import json, sys, duckdb
from pathlib import Path
import importlib.util
def file(name):
    (folder,) = importlib.util.find_spec("duckdb_extension_" + name).submodule_search_locations
    return next(Path(folder).rglob(name + ".duckdb_extension"))
connection = duckdb.connect()
for name in ("sqlite_scanner", "ducklake"):
    connection.execute(f"LOAD '{file(name)}'")
folder, statements = json.loads(sys.stdin.read())
for statement in statements[:-1]:
    connection.execute(statement.replace("FOLDER", folder))
rows = connection.execute(statements[-1].replace("FOLDER", folder)).fetchall()
print(json.dumps(rows, default=str))
"""
"""A program that uses nothing of ours; it loads DuckDB's extensions where others would INSTALL them."""

ATTACH = "ATTACH 'ducklake:sqlite:FOLDER/catalog.sqlite' AS lake (DATA_PATH 'FOLDER/data/', READ_ONLY)"


def plain(folder: Path, *statements: str) -> list[list[object]]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PLAIN],
        input=json.dumps([str(folder), statements]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def values(rows: list[dict[str, object]]) -> list[list[object]]:
    return [list(row.values()) for row in rows]


def test_the_lake_s_own_views_say_the_same(home: Home) -> None:
    folder = home.settings.catalog_file.parent
    for sql in (
        "SELECT repository, tag, digest, version FROM tags ORDER BY ALL",
        "SELECT repository, number, operation, actor, added, removed FROM versions ORDER BY ALL",
        "SELECT * FROM changes ORDER BY ALL",
        "SELECT repository, kind, tag, digest, size, since FROM members ORDER BY ALL",
    ):
        assert plain(folder, ATTACH, "USE lake", sql) == values(home.ask(sql)), sql


def test_our_views_can_be_made_there(home: Home) -> None:
    """What `entrepot query --show-views` prints, and the questions that come with us."""
    folder = home.settings.catalog_file.parent
    attach = (
        ATTACH,
        "ATTACH 'FOLDER/holdings.sqlite' AS holdings (TYPE sqlite, READ_ONLY)",
        "SET TimeZone = 'UTC'",
        *view_statements(blob_schema="main"),
        "USE memory.questions",
    )
    sql = "SELECT repository, digest, kind, os, layers, size_bytes, base_layer FROM images ORDER BY ALL"
    assert plain(folder, *attach, sql) == values(home.ask(sql))
    shared = named_questions()["shared-layers"].sql.replace("$limit", "20")
    assert plain(folder, *attach, shared) == values(home.named("shared-layers"))


def test_parquet_files_hold_all_rows_once_they_are_flushed(home: Home, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(home.settings.catalog_file.parent, tmp_path / "catalog"))
    rows = home.ask("SELECT repository, version, action, kind, tag, digest, size FROM changes ORDER BY ALL")
    writable = ATTACH.replace(", READ_ONLY", ", OVERRIDE_DATA_PATH true")
    plain(folder, writable, "CALL ducklake_flush_inlined_data('lake')")
    assert list((folder / "data").rglob("*.parquet"))
    found = plain(
        folder,
        """SELECT repository, version, action, kind, tag, digest, size
        FROM read_parquet('FOLDER/data/main/records/**/*.parquet', union_by_name = true)
        WHERE kind <> 'version' ORDER BY ALL""",
    )
    assert found == values(rows)
