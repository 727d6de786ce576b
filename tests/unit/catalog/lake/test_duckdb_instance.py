"""The instance of DuckDB that a process keeps, looked at in a process of its own."""

import subprocess
import sys

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
