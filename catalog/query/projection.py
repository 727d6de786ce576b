"""The projection of `records`: a copy of its rows beside the lake, of contents a number each, which questions read instead.

There are twenty rows of blobs for each tag, and an image's parts are a long text: questions about tags and images would read past
both. Questions of bytes compare contents, for which numbers are enough. `maintain` writes the copy
(catalog/query/projection_writer.py). It is a cache: each answer is the same without it, only later. A question takes from it
the repositories that nothing has changed since, and all others from the lake:

1. The projection names the lake's snapshot that it was made of; a lake without that snapshot is another one.
2. DuckLake's own record tells which repositories commits have changed since. With a gap in it, or a change that names no
   repository, the projection is left aside.
3. Its files hold whole repositories. One that changed is written into a newer file, and left out where it was.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from catalog.lake.metadata.engine import quoted
from catalog.lake.nested_values import MAX_NUMBER, with_nested
from catalog.lake.schema import SCHEMA_VERSION
from catalog.lake.snapshot_log import ADDED, REARRANGED, verbs_on

LAYOUT = 3
"""Raised when the files of a projection get other columns or other values."""

MOST_CHANGED = 1000
"""Repositories that may have changed before looking at all of the lake is quicker."""

_META = "__ducklake_metadata_lake"
_STATE = "projection.json"
_REMOVED = frozenset({"deleted_from_table", "inlined_delete"})


def content_key(digest: str) -> str:
    """Return the SQL of the first 60 bits of a digest, as a number."""
    return f"coalesce(try_cast('0x' || {digest}[8:22] AS BIGINT), 0)"


DERIVED: Mapping[str, str] = {
    "part_keys": f"list_transform(children, lambda child: {content_key('child.digest')})",
    "image_layers": "coalesce(list_sum(list_transform(children, lambda child: (child.role = 'layer')::BIGINT)), 0)::BIGINT",
    "image_bytes": f"""least(size + coalesce(list_sum(list_transform(children,
        lambda child: CASE child.role WHEN 'manifest' THEN 0 ELSE child.size END)), 0), {MAX_NUMBER})::BIGINT""",
    "base_layer": "children[list_position(list_transform(children, lambda child: child.role), 'layer')].digest",
    "base_name": """coalesce(annotations['org.opencontainers.image.base.name'],
        labels['org.opencontainers.image.base.name'], '')""",
}
"""What questions about images work out of an image's parts and texts, by the column that the projection keeps it in."""

COLUMNS = (
    "repository", "version", "action", "kind", "tag", "digest", "size", "media_type", "artifact_type", "subject",
    "manifest_kind", "os", "architecture", "variant", "created", "labels", "annotations", "children", "operation",
    "operation_id", "actor", "flow_run_id", "message", "created_at", "tags", "manifests", "blobs", "size_bytes", "added",
    "removed", "base", "origins",
)  # fmt: skip
"""The columns of `records` that are copied."""

CONTENT_COLUMNS = ("repository", "kind", "content_key", "size", "is_first", "is_held")
"""The columns of contents: `is_first` where the content came for the first time, `is_held` where it is there now."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some files with their sizes: of records, and of contents; and the repositories that newer parts hold instead."""

    files: Mapping[str, int]
    contents: Mapping[str, int]
    without: frozenset[str] = frozenset()

    @property
    def sizes(self) -> Mapping[str, int]:
        """Return the sizes of all its files."""
        return {**self.files, **self.contents}


@dataclass(frozen=True, slots=True)
class Projection:
    """Parts that hold each repository once, as of the lake's snapshot `position`, which was made at `made_at`."""

    position: int
    made_at: str
    parts: tuple[Part, ...]

    def dump(self) -> str:
        """Return it as JSON."""
        parts = [
            {"files": dict(part.files), "contents": dict(part.contents), "without": sorted(part.without)}
            for part in self.parts
        ]
        return json.dumps(
            {
                "schema": SCHEMA_VERSION,
                "layout": LAYOUT,
                "position": self.position,
                "made_at": self.made_at,
                "parts": parts,
            }
        )


def projection_folder(catalog_file: Path) -> Path:
    """Return where the projection of a lake is."""
    return catalog_file.parent / "projection"


def state_file(folder: Path) -> Path:
    """Return the file that says what the projection is."""
    return folder / _STATE


def load_projection(folder: Path) -> Projection | None:
    """Return the projection that is there, all files of it, and that this release has written; else None."""
    try:
        told: Mapping[str, Any] = json.loads(state_file(folder).read_text())
        if (told["schema"], told["layout"]) != (SCHEMA_VERSION, LAYOUT):
            return None
        parts = tuple(Part(one["files"], one["contents"], frozenset(one["without"])) for one in told["parts"])
        if any((folder / name).stat().st_size != size for part in parts for name, size in part.sizes.items()):
            return None
        return Projection(int(told["position"]), str(told["made_at"]), parts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def changed_repositories(rows: Iterable[tuple[int, str, str]], position: int, table: str) -> frozenset[str] | None:
    """Return which repositories have other rows than at `position`; None when that is not known. Pure.

    A row is a later snapshot: its number, DuckLake's words for what it changed (`VERB:TABLE`), and our note with it.
    """
    names, newest = set[str](), position
    for number, made, note in rows:
        verbs = verbs_on(table, made)
        if number != newest + 1 or verbs - ADDED - _REMOVED - REARRANGED:
            return None
        if verbs - REARRANGED:
            told = json.loads(note) if note else {}
            found = [name for key in ("versions", "squashed", "ended") for name in told.get(key) or ()]
            if not found:
                return None
            names.update(found)
        newest = number
    return frozenset(names)


def read_changed(connection: duckdb.DuckDBPyConnection, projection: Projection) -> frozenset[str] | None:
    """Return which repositories have changed since; None when the projection does not fit the lake."""
    made = connection.execute(
        f"SELECT snapshot_time::VARCHAR FROM {_META}.ducklake_snapshot WHERE snapshot_id = ?", [projection.position]
    ).fetchone()
    table = connection.execute(
        f"SELECT table_id FROM {_META}.ducklake_table WHERE table_name = 'records' AND end_snapshot IS NULL"
    ).fetchone()
    if made is None or table is None or made[0] != projection.made_at:
        return None
    rows = connection.execute(
        f"SELECT snapshot_id, coalesce(changes_made, ''), coalesce(commit_extra_info, '') "
        f"FROM {_META}.ducklake_snapshot_changes WHERE snapshot_id > ? ORDER BY snapshot_id",
        [projection.position],
    ).fetchall()
    return changed_repositories(rows, projection.position, str(table[0]))


def rows_of_lake(names: Collection[str] | None = None) -> str:
    """Return the SQL of the rows that a projection holds, as the lake has them; of some repositories, or of all."""
    derived = ", ".join(f"CASE kind WHEN 'manifest' THEN {sql} END AS {column}" for column, sql in DERIVED.items())
    some = "" if names is None else f" AND repository IN ({_listed(names)})"
    return f"""SELECT {", ".join(COLUMNS)}, {derived} FROM {with_nested("records", "lake.main.records")}
        WHERE kind <> 'blob'{some}"""


def contents_of(records: str) -> str:
    """Return the SQL of the manifests and blobs that repositories have or had, by their key; `records` is SQL of rows."""
    return f"""SELECT {", ".join(CONTENT_COLUMNS)} FROM (
        SELECT repository, kind, {content_key("digest")} AS content_key, size,
            first_gone IS NULL OR first_gone > version AS is_first, gone IS NULL OR gone < version AS is_held
        FROM {records} LEFT JOIN (SELECT repository, kind, digest, min(version) AS first_gone, max(version) AS gone FROM {records}
            WHERE kind IN ('manifest', 'blob') AND action = 'remove' GROUP BY repository, kind, digest)
            USING (repository, kind, digest)
        WHERE kind IN ('manifest', 'blob') AND action = 'add') WHERE is_first OR is_held"""


def contents_of_lake(names: Collection[str] | None = None) -> str:
    """Return the SQL of the contents that the lake has; of some repositories, or of all."""
    some = "" if names is None else f" WHERE repository IN ({_listed(names)})"
    return contents_of(f"(SELECT repository, version, action, kind, digest, size FROM lake.main.records{some})")


@dataclass(frozen=True, slots=True)
class ProjectedRows:
    """The SQL of what a projection holds where repositories have changed since: rows of `records`, and contents."""

    records: str
    contents: str


def rows_of_projection(projection: Projection, folder: Path, changed: Collection[str]) -> ProjectedRows:
    """Return the SQL of the same rows where repositories have `changed` since."""

    def select(columns: Iterable[str], files_of: Callable[[Part], Iterable[str]], newer: str) -> str:
        found = []
        for part in projection.parts:
            files = ", ".join(f"'{quoted(folder / name)}'" for name in files_of(part))
            absent = part.without | frozenset(changed)
            where = f" WHERE repository NOT IN ({_listed(absent)})" if absent else ""
            found.append(f"SELECT {', '.join(columns)} FROM read_parquet([{files}]){where}")
        return f"({' UNION ALL '.join([*found, newer] if changed else found)})"

    return ProjectedRows(
        select([*COLUMNS, *DERIVED], lambda part: part.files, rows_of_lake(changed)),
        select(CONTENT_COLUMNS, lambda part: part.contents, contents_of_lake(changed)),
    )


def find_rows(connection: duckdb.DuckDBPyConnection, folder: Path) -> ProjectedRows | None:
    """Return the SQL of the projection's rows as of now, or None when the lake is to be asked instead.

    The connection's transaction has to be the one that asks. It may look at commits after its snapshot, which does no harm.
    """
    projection = load_projection(folder)
    # DuckLake's snapshot is that of its first look: before the record is read, so that this tells of all that is in it.
    connection.execute("SELECT 1 FROM lake.schema_versions LIMIT 1").fetchall()
    changed = None if projection is None else read_changed(connection, projection)
    if projection is None or changed is None or len(changed) > MOST_CHANGED:
        return None
    return rows_of_projection(projection, folder, changed)


def _listed(names: Iterable[str]) -> str:
    return ", ".join("'" + name.replace("'", "''") + "'" for name in sorted(names))
