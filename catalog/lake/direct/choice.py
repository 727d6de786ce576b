"""Which commits a worker writes directly: the one rule."""

from collections.abc import Sequence

PROVEN = frozenset({("1.5.5", "d8a1881e")})
"""Releases of DuckDB with its DuckLake extension whose writer is known to write the same (tests/behaviour/direct_commits)."""

INLINED_ROWS = 1000
"""Rows of one table that a commit keeps in the bookkeeping; more of them become a Parquet file, which DuckDB writes."""

STARTED_AFTER = 4
"""Commits by DuckDB after which a process starts its worker: one that commits once or twice is quicker without."""

DIRECT = "direct"


def duckdb_reason(
    sizes: Sequence[tuple[str, int]], *, only_appends: bool, is_allowed: bool, release: tuple[str, str]
) -> str | None:
    """Return why DuckDB has to write a commit, in a few words; None for one that a worker may write. Pure.

    `sizes` are the tables that it appends to, with the number of rows.
    """
    if not is_allowed:
        return "direct commits are switched off"
    if release not in PROVEN:
        return "another release of DuckDB"
    if not only_appends:
        return "more than appends"
    if len({table for table, _ in sizes}) != len(sizes):
        return "a table twice"
    if any(rows > INLINED_ROWS for _, rows in sizes):
        return "many rows"
    return None
