"""Reads one column of the catalogue without opening the rest of it: what shell completion needs, quickly."""

from collections.abc import Sequence

import duckdb

from catalog.lake.duckdb_instance import OWN_EXTENSIONS
from catalog.lake.failures import may_pass_by_itself
from catalog.lake.reading import LakePlace
from oci.errors import CatalogUnavailable, CatalogUnusable


def read_first_column(place: LakePlace, sql: str, parameters: Sequence[str]) -> list[str]:
    """Return the first column of the rows as text; raise CatalogUnusable. Nothing is written or migrated."""
    try:
        with duckdb.connect(":memory:", config={"threads": 1, **OWN_EXTENSIONS}) as connection:
            place.attach(connection)
            return [str(row[0]) for row in connection.execute(sql, parameters).fetchall()]
    except duckdb.Error as error:
        kind = CatalogUnavailable if place.address is not None and may_pass_by_itself(error) else CatalogUnusable
        raise kind(f"{place.name} cannot be read: {error}") from error
