"""Reads one column of the catalogue without opening the rest of it: what shell completion needs, quickly."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from catalog.lake.connection import attach_statement, load_extensions
from catalog.lake.duckdb_instance import OWN_EXTENSIONS
from oci.errors import CatalogUnusable


def read_first_column(file: Path, sql: str, parameters: Sequence[str]) -> list[str]:
    """Return the first column of the rows as text; raise CatalogUnusable. Nothing is written or migrated."""
    try:
        with duckdb.connect(":memory:", config={"threads": 1, **OWN_EXTENSIONS}) as connection:
            load_extensions(connection)
            connection.execute(attach_statement(file, file.parent / "data", options=", READ_ONLY"))
            return [str(row[0]) for row in connection.execute(sql, parameters).fetchall()]
    except duckdb.Error as error:
        raise CatalogUnusable(f"{file} cannot be read: {error}") from error
