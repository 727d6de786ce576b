"""DuckDB within a process that runs for long: one instance, which gives back the memory that it no longer uses."""

import duckdb

from catalog.units import parse_size

# Importing DuckDB opens an instance with a thread of its own, for `duckdb.sql` and the like, which nothing here uses.
duckdb.default_connection().close()

OWN_EXTENSIONS = {
    "allow_unsigned_extensions": "true",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
}
"""DuckDB checks no signature of the two: pip has checked their hashes, as it has DuckDB's. Their 70 MB take a quarter of a second
to hash, each time a catalogue is opened. No other is loaded by itself, and `load_extensions` ends the permission."""


def open_duckdb(*, memory: str, threads: int) -> duckdb.DuckDBPyConnection:
    """Return an instance without a file, which may use so much memory and so many threads."""
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{parse_size(memory)}B",
            "threads": threads,
            **OWN_EXTENSIONS,
            # Else memory that was freed stays with the process until the next question: some 13 MB in an idle registry.
            "allocator_background_threads": True,
        },
    )
