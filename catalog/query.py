"""Questions in SQL, asked of a read-only copy of the connection that can reach nothing but the catalogue."""

import threading
from pathlib import Path

import duckdb
import pyarrow as pa

from catalog.lake import attach_statement, load_extensions
from oci.errors import QueryInvalid


def run_query(
    file: Path, data: Path, sql: str, *, memory: str, threads: int, max_rows: int, timeout: float
) -> pa.Table:
    """Answer one SELECT-like statement; `timeout` in seconds.

    Raises QueryInvalid for what is not one reading statement, fails, takes too long or answers with more than `max_rows`.
    """
    connection = duckdb.connect(":memory:", config={"memory_limit": memory, "threads": threads})
    try:
        _check(connection, sql)
        load_extensions(connection)
        connection.execute(attach_statement(file, data, options=", READ_ONLY"))
        connection.execute("USE lake")
        connection.execute("SET enable_progress_bar = false")
        _close_doors(connection, file.parent)
        return _fetch(connection, sql, max_rows=max_rows, timeout=timeout)
    finally:
        connection.close()


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryInvalid(f"not valid SQL: {error}") from None
    if len(statements) != 1:
        raise QueryInvalid(f"expected one statement, got {len(statements)}")
    if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise QueryInvalid(f"only questions are answered (SELECT, EXPLAIN, DESCRIBE), not {statements[0].type.name}")


def _close_doors(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Leave the statement no file but the catalogue's own, no network and no settings to change."""
    quoted = str(folder).replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{quoted}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str, *, max_rows: int, timeout: float) -> pa.Table:
    alarm = threading.Timer(timeout, connection.interrupt)
    alarm.start()
    try:
        reader = connection.execute(sql).to_arrow_reader(10_000)
        batches, rows = [], 0
        for batch in reader:
            batches.append(batch)
            rows += batch.num_rows
            if rows > max_rows:
                raise QueryInvalid(f"the answer has more than {max_rows} rows; add a LIMIT, or aggregate")
        return pa.Table.from_batches(batches, schema=reader.schema)
    except duckdb.InterruptException:
        raise QueryInvalid(f"the question took more than {timeout:g} s and was stopped; narrow it") from None
    except duckdb.Error as error:
        raise QueryInvalid(str(error)) from None
    finally:
        alarm.cancel()
