"""Questions in SQL read the catalogue and can touch nothing else."""

import pytest

from catalog.catalog import Catalog
from oci.errors import QueryInvalid
from tests.unit.catalog.conftest import push_image


def test_the_views_answer(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one")
    push_image(catalog, "team/app", "a", "two")
    rows = catalog.query.run("SELECT repository, tag, version FROM tags").to_pylist()
    assert rows == [{"repository": "team/app", "tag": "a", "version": 2}]
    assert catalog.query.run("SELECT count(*) AS n FROM members WHERE kind = 'manifest'").to_pylist() == [{"n": 2}]


def test_an_answer_without_rows_has_its_columns(catalog: Catalog) -> None:
    table = catalog.query.run("SELECT tag, digest FROM tags")
    assert (table.num_rows, table.column_names) == (0, ["tag", "digest"])


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "not valid SQL"),
        ("", "expected one statement"),
        ("SELECT 1; SELECT 2", "expected one statement"),
        ("DELETE FROM changes", "invalid query"),
        ("ATTACH 'x.db'", "invalid query"),
        ("COPY tags TO 'out.csv'", "invalid query"),
        ("SET memory_limit = '10GB'", "invalid query"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled"),
        ("SELECT * FROM 'other.parquet'", "disabled"),
        ("SELECT * FROM nothing", "nothing"),
        ("CALL lake.set_commit_message('a', 'b')", "invalid query"),
    ],
)
def test_what_is_no_question_is_refused(catalog: Catalog, sql: str, message: str) -> None:
    push_image(catalog, "team/app", "a", "one")
    with pytest.raises(QueryInvalid, match=message):
        catalog.query.run(sql)
    assert len(catalog.history.versions("team/app")) == 1


def test_limits_of_rows_and_time_hold(catalog: Catalog) -> None:
    with pytest.raises(QueryInvalid, match="more than 10 rows"):
        catalog.query.run("SELECT * FROM range(11)", max_rows=10)
    assert catalog.query.run("SELECT * FROM range(10)", max_rows=10).num_rows == 10
    with pytest.raises(QueryInvalid, match=r"more than 0\.2 s"):
        catalog.query.run(
            "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7", timeout=0.2
        )
