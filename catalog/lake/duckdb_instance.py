"""DuckDB within a process that runs for long: one instance, which gives back the memory that it no longer uses."""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import duckdb

from catalog.units import parse_size
from oci.errors import CatalogUnusable

# Importing DuckDB opens an instance with a thread of its own, for `duckdb.sql` and the like, which nothing here uses.
duckdb.default_connection().close()

OWN_EXTENSIONS = {
    "allow_unsigned_extensions": "true",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
}
"""DuckDB checks no signature of the two: pip has checked their hashes, as it has DuckDB's. Their 70 MB take a quarter of a second
to hash, each time a catalogue is opened. No other is loaded by itself, and `load_extensions` ends the permission."""


def open_duckdb(*, memory: str, threads: int, caches_files: bool = False) -> duckdb.DuckDBPyConnection:
    """Return an instance without a file, which may use so much memory and so many threads.

    `caches_files` keeps what it has read of Parquet files in that memory: for files in S3. The system keeps local ones anyway.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{parse_size(memory)}B",
            "threads": threads,
            **OWN_EXTENSIONS,
            # Else memory that was freed stays with the process until the next question: some 13 MB in an idle registry.
            "allocator_background_threads": True,
            "enable_external_file_cache": caches_files,
        },
    )
    # A session in any other zone looks through pytz's 600 files of zones for its first time.
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def load_extensions(connection: duckdb.DuckDBPyConnection, names: Iterable[str]) -> None:
    """Load DuckDB's extensions from their installed packages; nothing is fetched."""
    for name in names:
        spec = importlib.util.find_spec(f"duckdb_extension_{name}")
        folders = list(spec.submodule_search_locations or ()) if spec else []
        files = [file for folder in folders for file in Path(folder).rglob(f"{name}.duckdb_extension")]
        if not files:
            raise CatalogUnusable(f"package duckdb-extension-{name.replace('_', '-')} is missing; run `make setup`")
        connection.execute(f"LOAD '{files[0]}'")
    connection.execute("SET allow_unsigned_extensions = false")  # which nobody can take back


MOST_REMEMBERED = 32 * 2**20
"""Bytes, as DuckDB estimates them, above which an instance remembers much."""


def remembers_much(read: Callable[[str], Sequence[Sequence[object]]]) -> bool:
    """Return whether an instance is to be opened anew for what it remembers of former snapshots; `read` asks it."""
    return remembered(read) > MOST_REMEMBERED


def remembered(read: Callable[[str], Sequence[Sequence[object]]]) -> int:
    """Return the bytes of what DuckDB remembers for extensions: of DuckLake, the statistics of each snapshot that was read.

    DuckDB forgets none of it before all of its memory is used.
    """
    ((size,),) = read("SELECT sum(memory_usage_bytes) FROM duckdb_memory() WHERE tag = 'OBJECT_CACHE'")
    return int(str(size or 0))


def ducklake_version(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the version of DuckLake's extension, empty where it is not loaded."""
    row = connection.execute(
        "SELECT extension_version FROM duckdb_extensions() WHERE extension_name = 'ducklake'"
    ).fetchone()
    return str(row[0]) if row else ""
