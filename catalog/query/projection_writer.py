"""Writes the projection that questions read (catalog/query/projection.py): all of it, or what has changed since the last time.

A writer that is killed leaves files that nobody names, which the next one removes. No lock of the catalogue is held.
"""

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from catalog.lake.connection import Lake
from catalog.lake.metadata.engine import quoted
from catalog.query.projection import (
    Part,
    Projection,
    contents_of_lake,
    load_projection,
    projection_folder,
    read_changed,
    rows_of_lake,
    state_file,
)

ENOUGH = 1_000_000
"""Rows of a catalogue below which questions are quick without a projection."""

_MOST_PARTS = 16
_KINDS = ("kind = 'tag'", "kind = 'manifest'", "kind NOT IN ('tag', 'manifest')")
"""A file for each, so that a question reads past no other kind."""

_GROUP, _GROUP_OF_CONTENTS = 20_480, 122_880
"""Rows that are written at once: of manifests, some 100 MB in memory."""

_META = "__ducklake_metadata_lake"


def refresh_projection(lake: Lake, *, enough: int = ENOUGH) -> int:
    """Bring the projection up to the lake's newest snapshot; return the rows written, none while another process writes."""
    folder = projection_folder(lake.file)
    if not folder.exists():
        if _rows(lake) < enough:
            return 0
        folder.mkdir(mode=0o700, exist_ok=True)
    lock = FileLock(folder / "projection.lock", timeout=0)
    try:
        with lock:
            return _refresh(lake, folder)
    except Timeout:
        return 0


def _refresh(lake: Lake, folder: Path) -> int:
    former, (position, made_at) = load_projection(folder), _newest(lake)
    with lake.using() as cursor:
        changed = None if former is None else read_changed(cursor, former)
    if former is None or changed is None or _is_worn(lake, former, changed):
        parts, written = _append((), folder, lake, None)
    elif changed:
        kept = tuple(replace(part, without=part.without | changed) for part in former.parts)
        parts, written = _append(kept, folder, lake, changed)
    else:
        parts, written = former.parts, 0
    _publish(folder, Projection(position, made_at, parts))
    _remove_others(
        folder, {name for one in (parts, former.parts if former else ()) for part in one for name in part.sizes}
    )
    return written


def _rows(lake: Lake) -> int:
    """Return the number of rows of table `records`, as DuckLake counts them."""
    found = lake.read(
        f"SELECT record_count FROM {_META}.ducklake_table_stats JOIN {_META}.ducklake_table USING (table_id) "
        "WHERE table_name = 'records' AND end_snapshot IS NULL"
    )
    return int(str(found[0][0])) if found else 0


def _newest(lake: Lake) -> tuple[int, str]:
    """Return the lake's newest snapshot; what is written afterwards may be newer, and is read from the lake then."""
    ((position, made_at),) = lake.read(
        f"SELECT snapshot_id, snapshot_time::VARCHAR FROM {_META}.ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 1"
    )
    return int(str(position)), str(made_at)


def _is_worn(lake: Lake, former: Projection, changed: Collection[str]) -> bool:
    """Return whether so much has changed that all is written anew: a quarter of the repositories, or often."""
    ((count,),) = lake.read("SELECT count(*) FROM repositories")
    gone = sum(len(part.without) for part in former.parts) + len(changed)
    return len(former.parts) >= _MOST_PARTS or gone * 4 > int(str(count))


def _append(
    kept: tuple[Part, ...], folder: Path, lake: Lake, names: Collection[str] | None
) -> tuple[tuple[Part, ...], int]:
    written = 0

    def write(select: str, group: int) -> tuple[str, int]:
        nonlocal written
        name = f"{_next_number(folder):06}.parquet"
        ((rows,),) = lake.read(
            f"COPY ({select}) TO '{quoted(folder / name)}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {group})"
        )
        written += int(str(rows))
        with (folder / name).open("rb") as file:
            os.fsync(file.fileno())
            return name, os.fstat(file.fileno()).st_size

    files = dict(write(f"{rows_of_lake(names)} AND {kind}", _GROUP) for kind in _KINDS)
    contents = dict([write(contents_of_lake(names), _GROUP_OF_CONTENTS)])
    return (*kept, Part(files, contents)), written


def _next_number(folder: Path) -> int:
    return 1 + max((int(file.stem) for file in folder.glob("*.parquet") if file.stem.isdecimal()), default=0)


def _publish(folder: Path, projection: Projection) -> None:
    """Say durably what the projection is, once its files are there."""
    beside = folder / "projection.new"
    with beside.open("w") as file:
        file.write(projection.dump())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(state_file(folder))
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_others(folder: Path, named: Collection[str]) -> None:
    """Remove files that neither this projection names nor the former, which questions under way may read."""
    for file in folder.glob("*.parquet"):
        if file.name not in named:
            file.unlink(missing_ok=True)
