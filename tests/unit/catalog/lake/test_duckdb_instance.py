"""The instance of DuckDB that a process keeps, looked at in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from catalog.lake.duckdb_instance import open_duckdb

_CODE = """import pathlib
from catalog.lake.duckdb_instance import open_duckdb
before = len(list(pathlib.Path('/proc/self/task').iterdir()))
with open_duckdb(memory="1GB", threads=1) as opened:
    opened.execute("SELECT 1")
    print(before, len(list(pathlib.Path('/proc/self/task').iterdir())))
    print(*opened.execute("SELECT current_setting('allocator_background_threads'), current_setting('threads')").fetchone())
"""


def test_a_process_has_one_instance_that_gives_back_what_it_has_freed() -> None:
    ended = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    threads, settings = ended.stdout.splitlines()
    before, after = map(int, threads.split())
    assert settings == "True 1"
    assert before == 1  # importing it has left none
    assert after <= 2  # one gives memory back


@pytest.mark.parametrize("caches", [False, True])
def test_files_of_this_machine_are_kept_in_memory_by_the_system_alone(tmp_path: Path, caches: bool) -> None:
    with open_duckdb(memory="1GB", threads=1, caches_files=caches) as opened:
        opened.execute(f"COPY (SELECT range AS n FROM range(100000)) TO '{tmp_path}/rows.parquet'")
        for _ in range(2):
            assert opened.execute(f"SELECT sum(n) FROM '{tmp_path}/rows.parquet'").fetchall() == [(4999950000,)]
        kept = opened.execute("SELECT count(*) FROM duckdb_external_file_cache()").fetchone()
    assert kept is not None
    assert (kept[0] > 0) is caches
