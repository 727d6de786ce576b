"""What DuckLake's own record tells of the snapshots since one: did rows of `records` go, which repositories were written.

Source: DuckLake specification 1.0, table `ducklake_snapshot_changes`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from catalog.lake.connection import Lake

_CHANGES = "{meta}ducklake_snapshot_changes"
ADDED = frozenset({"inserted_into_table", "inlined_insert"})
REARRANGED = frozenset(
    {"inline_flush", "flushed_inlined", "merge_adjacent", "compacted_table", "rewrite_delete", "altered_table"}
)
"""DuckLake's verbs for a snapshot that adds rows, and for one after which the same rows are there."""


@dataclass(frozen=True, slots=True)
class Since:
    """`position` is the newest snapshot. `removed`: the newest in which rows of `records` may have gone, 0 for none.

    `repositories` are those that got versions; None when the record does not say which.
    """

    position: int
    removed: int
    repositories: frozenset[str] | None


def read_position(lake: Lake) -> int:
    """Return the newest snapshot of the lake."""
    return int(str(lake.read_metadata(f"SELECT coalesce(max(snapshot_id), 0) FROM {_CHANGES}")[0][0]))


def read_since(lake: Lake, position: int) -> Since:
    """Return what became of `records` after the snapshot at `position`; two small queries."""
    rows = lake.read_metadata(
        f"SELECT snapshot_id, changes_made, commit_extra_info FROM {_CHANGES} WHERE snapshot_id > ? ORDER BY snapshot_id",
        [position],
    )
    tables = lake.read_metadata(
        "SELECT table_id FROM {meta}ducklake_table WHERE table_name = 'records' AND end_snapshot IS NULL"
    )
    texts = [(int(str(number)), str(made or ""), str(note or "")) for number, made, note in rows]
    return judge_since(texts, position, str(tables[0][0]))


def verbs_on(table: str, made: str) -> set[str]:
    """Return what a snapshot did to a table, by its changes as DuckLake records them: `VERB:TABLE,…`. Pure."""
    return {verb for verb, _, what in (part.partition(":") for part in made.split(",")) if what == table}


def judge_since(rows: Iterable[tuple[int, str, str]], position: int, table: str) -> Since:
    """Return the same by rows of (snapshot, changes made, note). Pure. Gaps, and verbs that are not known, count as removals."""
    newest, removed, names, known = position, 0, set[str](), True
    for number, made, note in rows:
        verbs = verbs_on(table, made)
        if number != newest + 1 or verbs - ADDED - REARRANGED:
            removed, known = number, known and number == newest + 1
        if verbs & ADDED:
            versions = json.loads(note).get("versions") if note else None
            known = known and bool(versions)
            names.update(versions or ())
        newest = number
    return Since(newest, removed, frozenset(names) if known else None)
