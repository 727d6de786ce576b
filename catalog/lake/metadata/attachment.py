"""The statements that attach a lake to DuckDB, for reading or for all."""

from collections.abc import Mapping
from pathlib import Path

import duckdb

from catalog.lake.metadata.data import LakeData
from catalog.lake.metadata.engine import quoted
from catalog.postgres_address import PostgresAddress

SQLITE = ("sqlite_scanner", "ducklake")
POSTGRES = ("postgres_scanner", "ducklake")
"""DuckDB's extensions for a lake in either engine."""
CONNECTIONS = 8
"""Connections of DuckDB's in one process at most; who finds none free waits.

A thread needs one, and maintenance, which is one thread, a second for the bookkeeping: so nobody waits for who waits."""


def sqlite_statement(file: Path, data: Path, *, options: str = "") -> str:
    """Return the SQL that attaches the lake as `lake`. Its rows are where the folder is now, wherever the lake was made."""
    places = f"DATA_PATH '{quoted(data)}/', OVERRIDE_DATA_PATH true"
    return f"ATTACH 'ducklake:sqlite:{quoted(file)}' AS lake ({places}{options})"


def attach_postgres(
    connection: duckdb.DuckDBPyConnection,
    address: PostgresAddress,
    data: LakeData,
    *,
    options: str = "",
    read_only: bool = False,
) -> None:
    """Attach the lake as `lake`; with `read_only` neither DuckDB nor the server lets anything be written.

    Its password and keys are DuckDB's secrets, which no error repeats.
    """
    options += ", READ_ONLY" if read_only else ""
    if not read_only:  # a question has several scans on several threads, which must not wait for each other
        connection.execute(f"SET pg_pool_max_connections = {CONNECTIONS}")
        connection.execute("SET pg_pool_acquire_mode = 'wait'")  # else each thread that reads opens one more
    _make_secret(connection, "entrepot_database", "postgres", _login(address))
    make_data_secret(connection, data)
    session = quoted(libpq_options(address, read_only=read_only))
    connection.execute(
        f"CREATE OR REPLACE SECRET entrepot_lake (TYPE ducklake, METADATA_PATH '{session}', "
        "METADATA_PARAMETERS MAP {'TYPE': 'postgres', 'SECRET': 'entrepot_database'})"
    )
    connection.execute("SET ducklake_max_retry_count = 0")  # else it commits stale plans once more, silently
    connection.execute(
        f"ATTACH 'ducklake:entrepot_lake' AS lake (DATA_PATH '{quoted(data.place)}', OVERRIDE_DATA_PATH true{options})"
    )


def attach_bookkeeping(connection: duckdb.DuckDBPyConnection, address: PostgresAddress, name: str) -> None:
    """Attach the database of a lake itself, as tables of DuckLake's."""
    _make_secret(connection, "entrepot_database", "postgres", _login(address))
    connection.execute(
        f"ATTACH '{quoted(libpq_options(address))}' AS {name} (TYPE postgres, SECRET entrepot_database, SCHEMA 'public')"
    )


def make_data_secret(connection: duckdb.DuckDBPyConnection, data: LakeData) -> None:
    """Let DuckDB read and write a place of Parquet files in S3."""
    if data.secret:
        _make_secret(connection, "entrepot_data", "s3", {**data.secret, "SCOPE": data.place})


def _login(address: PostgresAddress) -> dict[str, str]:
    login = {"HOST": address.host, "PORT": str(address.port), "USER": address.user, "DATABASE": address.database}
    return {**login, "PASSWORD": address.password} if address.password else login


def libpq_options(address: PostgresAddress, *, read_only: bool = False) -> str:
    """Return what libpq is told beside the login; with `read_only` the session takes no writes."""
    options = {**address.session(), "application_name": "entrepot duckdb"}
    if read_only:
        options |= {"application_name": "entrepot question", "target_session_attrs": "primary"}
        options |= {"options": "-c default_transaction_read_only=on"}
    return " ".join(f"{name}='{value}'" for name, value in options.items())


def _make_secret(connection: duckdb.DuckDBPyConnection, name: str, kind: str, fields: Mapping[str, str]) -> None:
    told = ", ".join(f"{key} '{quoted(value)}'" for key, value in fields.items())
    connection.execute(f"CREATE OR REPLACE SECRET {name} (TYPE {kind}, {told})")
