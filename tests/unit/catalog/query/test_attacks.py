"""What questions must not do: read or write files, reach the network or other databases, change settings, take the machine."""

import contextlib
import resource
import threading
from pathlib import Path

import duckdb
import pytest

from catalog.blobs.lake_data import lake_place
from catalog.catalog import Catalog
from catalog.query.check import check_question
from catalog.query.process import close_doors, open_for_question, plan_bounds
from catalog.query.question import Limits, Question
from catalog.query.run import environment
from catalog.query.task import Task
from oci.errors import QueryInvalid
from tests.servers import wait_until
from tests.unit.catalog.conftest import push_image

ATTACKS = (
    "SELECT * FROM read_text('HOME/access.json')",
    "SELECT * FROM read_blob('HOME/catalog/holdings.sqlite')",
    "SELECT * FROM read_blob('HOME/catalog/catalog.sqlite')",
    "SELECT * FROM read_blob('HOME/catalog/data/../holdings.sqlite')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_json('HOME/access.json')",
    "SELECT * FROM read_parquet('HOME/catalog/data/main/records/*.parquet')",
    "SELECT * FROM parquet_metadata('HOME/catalog/data/main/records/*.parquet')",
    "SELECT * FROM parquet_file_metadata('HOME/catalog/holdings.sqlite')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM glob('HOME/**')",
    "SELECT * FROM 'HOME/other.parquet'",
    'SELECT * FROM "/etc/passwd"',
    "SELECT * FROM 'https://registry.example/x.csv'",
    "SELECT * FROM read_csv('https://registry.example/x.csv')",
    "DESCRIBE 'HOME/other.csv'",
    "SUMMARIZE SELECT * FROM read_text('HOME/access.json')",
    "EXPLAIN ANALYZE SELECT * FROM read_text('HOME/access.json')",
    "EXPLAIN ANALYZE COPY tags TO 'HOME/out.csv'",
    "--explain\nEXPLAIN ANALYZE SELECT * FROM read_text('HOME/access.json')",
    "--explain\nEXPLAIN ANALYZE SELECT error(body) FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1 AS body')",
    "--\nEXPLAIN ANALYZE DELETE FROM lake.records",
    "/* explain */ EXPLAIN ANALYZE SELECT * FROM read_text('HOME/access.json')",
    "SELECT * FROM sqlite_scan('HOME/catalog/holdings.sqlite', 'links')",
    "SELECT * FROM sqlite_query('holdings', 'SELECT * FROM links')",
    "SELECT * FROM sqlite_attach('HOME/other.sqlite')",
    "SELECT * FROM holdings.links",
    "SELECT * FROM holdings.main.blobs",
    "SELECT * FROM holdings.entrepot.documents",
    "SELECT * FROM entrepot.documents",
    "SELECT * FROM postgres_scan('host=127.0.0.1 user=postgres', 'entrepot', 'documents')",
    "SELECT * FROM postgres_scan_pushdown('host=127.0.0.1 user=postgres', 'entrepot', 'documents')",
    "SELECT * FROM postgres_query('holdings', 'SELECT * FROM entrepot.documents')",
    "CALL postgres_execute('holdings', 'SELECT 1')",
    "CALL postgres_attach('host=127.0.0.1 user=postgres')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('s3://bucket/', 's3')",
    "SELECT * FROM __ducklake_metadata_lake.ducklake_data_file",
    "SELECT * FROM __ducklake_metadata_lake.main.ducklake_metadata",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('tags')",
    "SELECT * FROM query_table(['tags', 'versions'])",
    "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT * FROM ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "SELECT * FROM ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "SELECT * FROM ducklake_expire_snapshots('lake', older_than => now())",
    "SELECT * FROM ducklake_list_files('lake', 'records')",
    "CALL ducklake_flush_inlined_data('lake')",
    "CALL lake.set_commit_message('a', 'b')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_databases",
    "SELECT * FROM pragma_database_list",
    "SELECT * FROM sqlite_master",
    "SELECT current_setting('temp_directory')",
    "SELECT getenv('HOME')",
    "SELECT (SELECT content FROM read_text('HOME/access.json'))",
    "WITH x AS (SELECT * FROM read_text('HOME/access.json')) SELECT * FROM x",
    "SELECT * FROM tags WHERE tag IN (SELECT content FROM read_text('HOME/access.json'))",
    "SELECT * FROM tags, LATERAL (SELECT * FROM read_text(tag))",
    "ATTACH 'HOME/other.sqlite' (TYPE sqlite)",
    "DETACH lake",
    "USE memory",
    "COPY tags TO 'HOME/out.csv'",
    "COPY records FROM 'HOME/in.csv'",
    "EXPORT DATABASE 'HOME/out'",
    "IMPORT DATABASE 'HOME/in'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '100GB'",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "PRAGMA enable_profiling",
    "CREATE TABLE mine AS SELECT 1",
    "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CREATE MACRO tags_of(a, b) AS TABLE SELECT 1",
    "DROP TABLE lake.records",
    "INSERT INTO lake.records BY NAME SELECT 'a' AS repository",
    "UPDATE lake.records SET repository = 'a'",
    "DELETE FROM lake.records",
    "ALTER TABLE lake.records ADD COLUMN x INTEGER",
    "VACUUM",
    "CHECKPOINT",
    "BEGIN",
    "SELECT 1; DELETE FROM lake.records",
    "PREPARE x AS SELECT 1",
    "SHOW ALL TABLES",
    "SHOW DATABASES",
)


@pytest.mark.parametrize("sql", ATTACKS)
def test_is_refused_before_anything_is_opened(sql: str) -> None:
    with duckdb.connect(":memory:") as connection, pytest.raises(QueryInvalid):
        check_question(connection, sql.replace("HOME", "/somewhere"))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM tags",
        "FROM lake.records AT (VERSION => 3)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT * FROM n",
        "SELECT * FROM tags_at(now() - INTERVAL 1 DAY)",
        "SELECT * FROM tags_of('team/app', 1), range(3), unnest([1, 2]) u",
        "SELECT * FROM (PIVOT changes ON action IN ('add', 'remove') USING count(*) GROUP BY repository)",
        "SELECT * FROM lake.snapshots()",
        "DESCRIBE images",
        "SUMMARIZE tags",
        "SHOW TABLES",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT column_name FROM information_schema.columns",
        "VALUES (1), (2)",
    ],
)
def test_questions_are_taken(sql: str) -> None:
    with duckdb.connect(":memory:") as connection:
        check_question(connection, sql)


def test_even_what_were_overlooked_reaches_no_file_and_writes_nothing(catalog: Catalog, home: Path) -> None:
    """DuckDB itself refuses, on the connection that questions get."""
    push_image(catalog, "team/app", "a", "one")
    catalog.close()
    (home / "secret.txt").write_text("secret")
    limits = Limits("100MB", 1, 10.0, 10, 1000, "0GB")
    task = Task(lake_place(catalog.settings), home, Question(""), limits, "json")
    connection = open_for_question(task, None)
    close_doors(connection, task.place)
    for sql in (
        f"SELECT * FROM read_text('{home}/secret.txt')",
        f"SELECT * FROM glob('{home}/*')",
        f"ATTACH '{home}/new.db' AS other",
        f"COPY (SELECT 1) TO '{home}/out.csv'",
        "SET memory_limit = '10GB'",
        "DELETE FROM lake.records",
        "INSTALL httpfs",
        "LOAD httpfs",
    ):
        with pytest.raises(duckdb.Error):
            connection.execute(sql).fetchall()
    assert connection.execute("SELECT count(*) FROM tags").fetchall() == [(1,)]
    connection.close()
    assert not (home / "out.csv").exists()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT count(*) FROM range(1000000000000) a, range(1000000) b WHERE a.range + b.range = 7", "more than 2 s"),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", "more than"),
        ("SELECT list(range) FROM range(1000000000)", "more than|ended early"),
        ("SELECT repeat('x', 1000000000)", "memory|bytes|ended early|more than"),
        ("SELECT range, md5(range::VARCHAR) FROM range(100000)", "bytes"),
        ("SELECT * FROM range(200000)", "rows"),
    ],
)
def test_what_takes_too_much_is_stopped_and_hurts_nobody(catalog: Catalog, sql: str, said: str) -> None:
    push_image(catalog, "team/app", "a", "one")
    limits = Limits("100MB", 1, 2.0, 100_000, 1_000_000, "100MB")
    with (
        catalog.query.start(Question(sql), limits, "json") as asking,
        pytest.raises(QueryInvalid, match=said),
    ):
        asking.answer()
    assert not asking._task.folder.exists()
    assert catalog.query.run("SELECT count(*) AS n FROM tags").to_pylist() == [{"n": 1}]


def _targets(folder: Path) -> list[str]:
    """What the descriptors of a process stand for."""
    found = []
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(entry.readlink()))
    return found


@pytest.mark.embedded
def test_a_question_ends_with_whoever_has_asked(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one")
    slow = Question("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7")
    limits = Limits("100MB", 1, 60.0, 10, 1000, "0GB")
    with catalog.query.start(slow, limits, "json") as asking:
        failed: list[Exception] = []

        def ask() -> None:
            try:
                asking.answer()
            except QueryInvalid as error:
                failed.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        wait_until(lambda: asking._process is not None, 10, "the process is started")
        assert asking._process is not None
        assert asking._process.stdin is not None
        folder = Path(f"/proc/{asking._process.pid}/fd")
        wait_until(lambda: any("catalog" in target for target in _targets(folder)), 20, "it has its task")
        asking._process.stdin.close()  # as the system does when we are killed
        thread.join(20)
        assert not thread.is_alive()
        assert failed


def test_the_environment_of_a_question_holds_no_secret() -> None:
    given = {"PATH": "/bin", "ENTREPOT_LOGINS": "user:password", "AWS_SECRET_ACCESS_KEY": "password"}
    found = environment(given)
    assert found.keys() == {"PATH", "PYTHONPATH", "PYTHONSAFEPATH", "LANG"}
    assert "password" not in str(found)


def test_the_system_s_bounds_follow_from_the_limits() -> None:
    bounds = plan_bounds(Limits("100MB", 0, 3.0, 1, 1_000_000, "5MB"), cores=2)
    assert bounds[resource.RLIMIT_CPU] == 3 * 2 + 10
    assert 200_000_000 < bounds[resource.RLIMIT_AS] < 4 * 2**30
    assert bounds[resource.RLIMIT_FSIZE] == 5_000_000 + 2**20
    assert bounds[resource.RLIMIT_CORE] == 0
