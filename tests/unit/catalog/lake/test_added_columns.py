"""A process goes on writing to tables to which a newer release has added columns, directly and by DuckDB."""

from pathlib import Path

import pytest

from catalog.lake.connection import Lake
from catalog.lake.direct.choice import DIRECT


@pytest.mark.parametrize("direct", [True, False])
def test_rows_by_place_leave_added_columns_empty(tmp_path: Path, *, direct: bool) -> None:
    file = tmp_path / "catalog.sqlite"
    options = {"memory": "256MB", "threads": 1, "lock_timeout": 10}
    lake = Lake(file, **options, direct_commits=direct, worker_after=0)  # type: ignore[arg-type]
    newer = Lake(file, **options)  # type: ignore[arg-type]
    try:
        if direct:
            lake.worker.start()
            assert lake.worker.is_ready(wait=20)
        for turn in range(2):
            with lake.write() as writer:
                writer.insert("retention_rules", [(f"rule {turn}", "{}")])
            if turn == 0:
                newer.cursor().execute("ALTER TABLE retention_rules ADD COLUMN of_next_release VARCHAR")
        assert newer.read("SELECT name, of_next_release FROM retention_rules ORDER BY name") == [
            ("rule 0", None),
            ("rule 1", None),
        ]
        assert (lake.commit_counts[DIRECT] == 2) is direct
    finally:
        lake.worker.stop(now=True)
        lake.close()
        newer.close()
