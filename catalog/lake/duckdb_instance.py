"""DuckDB within a process that runs for long: one instance, which gives back the memory that it no longer uses."""

import duckdb

from catalog.units import parse_size

# Importing DuckDB opens an instance with a thread of its own, for `duckdb.sql` and the like, which nothing here uses.
duckdb.default_connection().close()


def open_duckdb(*, memory: str, threads: int) -> duckdb.DuckDBPyConnection:
    """Return an instance without a file, which may use so much memory and so many threads."""
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{parse_size(memory)}B",
            "threads": threads,
            # Else memory that was freed stays with the process until the next question: some 13 MB in an idle registry.
            "allocator_background_threads": True,
        },
    )
