"""Indexes that earlier releases have left beside ours."""

import logging
from pathlib import Path

from catalog.search.schema import LAYOUT

log = logging.getLogger("catalog")
OLDER_SECONDS = 3600.0
"""A file of an older layout that nobody has changed for so long is removed."""


def remove_older_files(file: Path, now: float) -> None:
    """Remove indexes of older layouts beside `file` that no process has changed lately.

    One that only reads goes on with the file that it has open, and makes another for its next search. Lock files stay: a
    process may wait for one.
    """
    for layout in range(1, LAYOUT):
        older = file.with_name(f"search-{layout}.sqlite")
        parts = [older, *(Path(f"{older}{end}") for end in ("-wal", "-shm")), older.with_suffix(".new")]
        there = [part for part in parts if part.exists()]
        try:
            if there and now - max(part.stat().st_mtime for part in there) > OLDER_SECONDS:
                for part in there:
                    part.unlink(missing_ok=True)
        except OSError as error:  # removed meanwhile, or not ours to remove
            log.warning("an older search index cannot be removed file=%s error=%s", older, error)
