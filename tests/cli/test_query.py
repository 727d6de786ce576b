"""`entrepot query`: where a question comes from, the forms of its answer, and what is refused."""

import json
from pathlib import Path

import pyarrow.ipc
import pyarrow.parquet
import pytest

from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from catalog.lake.schema import MIGRATIONS
from catalog.settings import read_settings
from cli.content.query import choose_form
from oci.errors import InvalidInput
from tests.cli.commands import COMMAND, Entrepot
from tests.servers import Children, run_command
from tests.unit.catalog.conftest import push_image

NAME = "team/app"
SQL = "SELECT tag, version FROM tags ORDER BY tag"


@pytest.fixture(scope="module")
def entrepot(tmp_path_factory: pytest.TempPathFactory, module_children: Children) -> Entrepot:
    """team/app with a, then b."""
    home = tmp_path_factory.mktemp("home")
    catalog = Catalog(read_settings(home=home))
    push_image(catalog, NAME, "a", "one")
    push_image(catalog, NAME, "b", "two")
    catalog.close()
    return Entrepot(home, module_children)


def test_the_question_comes_from_the_line_a_file_or_standard_input(entrepot: Entrepot, tmp_path: Path) -> None:
    file = tmp_path / "question.sql"
    file.write_text(SQL)
    wanted = [{"tag": "a", "version": 1}, {"tag": "b", "version": 2}]
    assert entrepot.json("query", "--file", str(file)) == wanted
    done = run_command([*COMMAND, "query", "-", "--format", "csv", "--home", str(entrepot.home)], text=SQL)
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["tag,version", "a,1", "b,2"]


def test_as_of_a_version_with_a_value_set(entrepot: Entrepot) -> None:
    sql = "SELECT tag FROM tags WHERE tag <> $not AND version < $below"
    assert entrepot.json("query", sql, "--version", f"{NAME}@1", "--set", "not=b", "--set", "below=9") == [{"tag": "a"}]
    assert entrepot.json("query", "SELECT count(*) AS n FROM tags", "--at", "2001-01-01T00:00Z") == [{"n": 0}]


def test_answers_go_to_files_whole_or_not_at_all(entrepot: Entrepot, tmp_path: Path) -> None:
    wanted = {"tag": ["a", "b"], "version": [1, 2]}
    for name in ("out.parquet", "out.arrow"):
        assert entrepot("query", SQL, "--output", str(tmp_path / name)).returncode == 0
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pydict() == wanted
    assert pyarrow.ipc.open_stream(tmp_path / "out.arrow").read_all().to_pydict() == wanted
    refused = entrepot("query", SQL, "--max-rows", "1", "--format", "ndjson", "--output", str(tmp_path / "out.parquet"))
    assert (refused.returncode, "more than 1 rows" in refused.stderr) == (2, True)
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pydict() == wanted
    assert sorted(file.name for file in tmp_path.glob("*out*")) == ["out.arrow", "out.parquet"]


def test_questions_that_come_with_us(entrepot: Entrepot) -> None:
    listed = {one["name"]: one for one in entrepot.json("query", "--list")}
    assert listed["shared-layers"]["parameters"] == {"limit": 20}
    (row,) = entrepot.json("query", "--named", "unsigned-images", "--set", "limit=1")
    assert (row["repository"], row["tag"]) == (NAME, "a")
    shown = entrepot("query", "--show-views").stdout
    assert "CREATE OR REPLACE VIEW memory.questions.tags" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "one question"),
        (("SELECT 1", "--named", "usage"), "one question"),
        (("--named", "none"), "shared-layers"),
        (("--named", "usage", "--set", "x=1"), "no parameter 'x'"),
        (("--named", "usage", "--set", "limit=many"), "limit is a number"),
        (("SELECT $a", "--set", "a"), "NAME=VALUE"),
        (("SELECT 1", "--at", "noon"), "invalid time"),
        (("SELECT 1", "--version", "team/app"), "NAME@VERSION"),
        (("SELECT 1", "--at", "2026-01-01", "--version", "team/app@1"), "not of both"),
        (("SELECT 1", "--output", "answer"), "--format"),
        (("--file", "/nowhere.sql"), "/nowhere.sql"),
    ],
)
def test_what_is_wrong_is_said(entrepot: Entrepot, arguments: tuple[str, ...], said: str) -> None:
    done = entrepot("query", *arguments)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_catalogue_of_an_older_release_is_brought_up_to_date(
    tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr("catalog.lake.connection.MIGRATIONS", MIGRATIONS[:3])
        older.setattr("catalog.lake.connection.SCHEMA_VERSION", 3)
        file = tmp_path / "home" / "catalog" / "catalog.sqlite"
        Lake(file, memory="500MB", threads=1, lock_timeout=10).close()
    assert Entrepot(tmp_path / "home", children).json("query", "SELECT count(*) AS n FROM events") == [{"n": 0}]


def test_the_form_of_an_answer() -> None:
    assert choose_form(None, None, is_terminal=True) == "table"
    assert choose_form("csv", None, is_terminal=True) == "csv"
    assert choose_form("parquet", None, is_terminal=False) == "parquet"
    assert choose_form(None, Path("x.JSONL"), is_terminal=True) == "ndjson"
    assert choose_form("arrow", Path("x.bin"), is_terminal=True) == "arrow"
    for shown, output in (("parquet", None), (None, Path("x")), ("table", Path("x.csv"))):
        with pytest.raises(InvalidInput):
            choose_form(shown, output, is_terminal=True)  # type: ignore[arg-type]


def test_rows_for_programs(entrepot: Entrepot) -> None:
    sql = """SELECT sum(size) AS whole, 1.5::DECIMAL(4, 2) AS part, [1, NULL] AS list, {'a': DATE '2026-01-02'} AS record,
        MAP {'k': 'v'} AS map, 'x' AS a, 'y' AS a, TIMESTAMPTZ '2026-01-02 03:04:05Z' AS moment, NULL AS nothing
        FROM range(3) sizes(size)"""
    assert entrepot.json("query", sql) == [
        {
            "whole": 3, "part": 1.5, "list": [1, None], "record": {"a": "2026-01-02"}, "map": {"k": "v"},
            "a": "x", "a_2": "y", "moment": "2026-01-02T03:04:05Z", "nothing": None,
        }
    ]  # fmt: skip
    lines = entrepot("query", sql, "--format", "csv").stdout
    assert '"[1, null]"' in lines
    assert json.loads(entrepot("query", sql, "--format", "ndjson").stdout)["whole"] == 3
