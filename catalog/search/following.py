"""Brings the index up to what was committed since: rows of a few repositories, taken over one by one.

A repository that lost versions is read again as a whole; the rows of all others only come.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.lake.connection import Lake
from catalog.lake.nested_values import as_nested
from catalog.lake.reading import listed
from catalog.lake.snapshot_log import ADDED, REARRANGED, verbs_on
from catalog.search.builder import CHILD_MANIFESTS, INDEX_TYPES, MOST_VALUE
from catalog.search.document_subjects import is_document_tag
from catalog.search.schema import content_number, digest_bytes

_READ = f"""
WITH wanted AS (
    SELECT unnest(string_split($names, ' ')) AS repository, unnest(string_split($after, ' '))::BIGINT AS after
)
SELECT repository, version, kind, action, coalesce(tag, '') AS tag, digest, manifest_kind, subject,
    CASE WHEN kind = 'manifest' THEN coalesce(labels_json, to_json(labels)::VARCHAR) END,
    CASE WHEN kind = 'manifest' THEN coalesce(annotations_json, to_json(annotations)::VARCHAR) END,
    CASE WHEN manifest_kind IN ('sbom', 'attestation') THEN list_transform(
        list_filter({as_nested("records", "children")}, lambda one: one.role = 'layer'), lambda one: one.digest) END,
    CASE WHEN kind = 'manifest' AND action = 'add' AND media_type IN {INDEX_TYPES} THEN {CHILD_MANIFESTS} END
FROM records JOIN wanted USING (repository)
WHERE version > after AND kind IN ('version', 'tag', 'manifest', 'blob')
ORDER BY repository, version, action DESC, kind"""
"""In a version, what goes comes before what is added, and manifests come before the tags that point to them."""

_META = "{meta}ducklake_"
ANEW = -1
"""The version after which all rows of a repository are read, in the place of those that the index has."""


@dataclass(frozen=True, slots=True)
class ChangedRepositories:
    """Which repositories got versions since a snapshot, and which lost some; `position` is the newest snapshot."""

    position: int
    made_at: str
    grown: frozenset[str]
    shrunk: frozenset[str]


def read_snapshot(lake: Lake) -> tuple[int, str]:
    """Return the lake's newest snapshot, and when it was made."""
    rows = lake.read_metadata(
        f"SELECT snapshot_id, CAST(snapshot_time AS VARCHAR) FROM {_META}snapshot ORDER BY snapshot_id DESC LIMIT 1"
    )
    return int(str(rows[0][0])), str(rows[0][1])


def read_changes_since(lake: Lake, position: int, made_at: str) -> ChangedRepositories | None:
    """Return what has changed since a snapshot; None where the lake does not know it (any longer), or does not tell."""
    known = lake.read_metadata(
        f"SELECT CAST(snapshot_time AS VARCHAR) FROM {_META}snapshot WHERE snapshot_id = ?", [position]
    )
    if not known or str(known[0][0]) != made_at:
        return None
    newest = read_snapshot(lake)
    tables = lake.read_metadata(
        f"SELECT table_id FROM {_META}table WHERE table_name = 'records' AND end_snapshot IS NULL"
    )
    rows = lake.read_metadata(
        f"SELECT snapshot_id, changes_made, commit_extra_info FROM {_META}snapshot_changes "
        "WHERE snapshot_id > ? AND snapshot_id <= ? ORDER BY snapshot_id",
        [position, newest[0]],
    )
    texts = [(int(str(number)), str(made or ""), str(note or "")) for number, made, note in rows]
    found = judge_changes(texts, position, str(tables[0][0]))
    return None if found is None else ChangedRepositories(*newest, *found)


def judge_changes(
    rows: Iterable[tuple[int, str, str]], position: int, table: str
) -> tuple[frozenset[str], frozenset[str]] | None:
    """Return who grew and who shrank, by rows of (snapshot, changes made, note); None with a gap or an untold change. Pure."""
    newest, grown, shrunk = position, set[str](), set[str]()
    for number, made, note in rows:
        if number != newest + 1:
            return None
        newest = number
        verbs = verbs_on(table, made) - REARRANGED
        if not verbs:
            continue
        told: Mapping[str, Any] = json.loads(note) if note else {}
        lost = {*(told.get("squashed") or ()), *(told.get("ended") or ())}
        if not (lost or told.get("versions")) or (verbs - ADDED and not lost):
            return None
        grown.update(told.get("versions") or ())
        shrunk |= lost
    return frozenset(grown), frozenset(shrunk)


def read_rows(lake: Lake, after: Mapping[str, int]) -> list[tuple[Any, ...]]:
    """Return the rows of repositories after a version of each; one query."""
    parameters = {"names": listed(after), "after": listed(map(str, after.values()))}
    return lake.read(_READ, parameters)


def take_rows(connection: sqlite3.Connection, after: Mapping[str, int], rows: Sequence[Sequence[Any]]) -> None:
    """Take over rows that `read_rows` returned for `after`, within a transaction; leave those that are there already.

    A repository after ANEW is left out first.
    """
    for name, number in after.items():
        if number == ANEW:
            _forget(connection, name)
    known = {name: version for name in after if (version := _version(connection, name)) is not None}
    taken = _Taken(connection)
    for repository, version, kind, action, *fields in rows:
        if version > known.get(repository, 0):
            taken.take(repository, version, kind, action, fields)
    taken.finish()


def _version(connection: sqlite3.Connection, name: str) -> int | None:
    row = connection.execute("SELECT version FROM repositories WHERE name = ?", [name]).fetchone()
    return None if row is None else int(row[0])


def _forget(connection: sqlite3.Connection, name: str) -> None:
    """Leave out all of a repository; looks at the blobs of all."""
    row = connection.execute("SELECT id FROM repositories WHERE name = ?", [name]).fetchone()
    if row is not None:
        for table in ("tags", "members", "blobs", "documents"):
            connection.execute(f"DELETE FROM {table} WHERE repository = ?", row)
        connection.execute("DELETE FROM repositories WHERE id = ?", row)


class _Taken:
    """Takes rows over, with the numbers of texts in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[tuple[str, object], int] = {}
        self._versions: dict[str, int] = {}

    def take(self, repository: str, version: int, kind: str, action: str, fields: Sequence[Any]) -> None:
        """Take one row over."""
        at = self._id("repositories", "name", repository, "version", 0)
        self._versions[repository] = max(version, self._versions.get(repository, 0))
        if kind == "version":
            return
        tag, digest, manifest_kind, subject, labels, annotations, layers, children = fields
        if kind == "blob":
            self._move("blobs", "key", content_number(digest), at, version, action)
            return
        manifest = self._id("manifests", "digest", digest_bytes(digest), "kind", manifest_kind or "")
        if kind == "tag":
            name = self._id("tag_names", "name", tag)
            self._move("tags", "name", name, at, version, action, manifest=manifest)
            if action == "add" and is_document_tag(tag):
                self._resolve_again("manifest = ? AND repository = ?", [manifest, at])
            return
        self._move("members", "manifest", manifest, at, version, action)
        if action == "add":
            self._connection.execute(
                "UPDATE manifests SET kind = ? WHERE id = ? AND kind = ''", [manifest_kind or "", manifest]
            )
            self._label(manifest, {**_texts(labels), **_texts(annotations)})
            self._connection.executemany(
                "INSERT OR IGNORE INTO index_children VALUES (?, ?)",
                [(digest_bytes(child), manifest) for child in children or ()],
            )
            if layers is not None:
                about = digest_bytes(subject) if subject else b""
                self._connection.execute(
                    "INSERT OR IGNORE INTO documents (manifest, repository, subject, layers, is_resolved) "
                    "VALUES (?, ?, ?, ?, ?)",
                    [manifest, at, about, " ".join(layers), bool(about)],
                )
            elif manifest_kind == "index":  # it may name the image that an attestation is about
                self._resolve_again("repository = ?", [at])

    def _move(
        self, table: str, column: str, key: int, at: int, version: int, action: str, *, manifest: int | None = None
    ) -> None:
        if action == "add":
            values = [key, at, version, 0, *([] if manifest is None else [manifest])]
            self._connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(values))})", values)
            return
        pointing, more = ("", []) if manifest is None else (" AND manifest = ?", [manifest])
        self._connection.execute(
            f"UPDATE {table} SET gone = ? WHERE {column} = ? AND repository = ? AND gone = 0 AND since < ?{pointing}",
            [version, key, at, version, *more],
        )

    def _resolve_again(self, condition: str, values: Sequence[Any]) -> None:
        """Have the images of documents looked for that nobody has named yet."""
        self._connection.execute(f"UPDATE documents SET is_resolved = 0 WHERE {condition} AND subject = x''", values)

    def _label(self, manifest: int, texts: Mapping[str, str]) -> None:
        for name, value in texts.items():
            key = self._id("label_keys", "name", name)
            self._connection.execute(
                "INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", [key, manifest, value[:MOST_VALUE]]
            )

    def _id(self, table: str, column: str, text: object, further: str = "", value: object = None) -> int:
        known = self._ids.get((table, text))
        if known is None:
            columns, values = (f"{column}, {further}", [text, value]) if further else (column, [text])
            self._connection.execute(
                f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({', '.join('?' * len(values))})", values
            )
            row = self._connection.execute(f"SELECT id FROM {table} WHERE {column} = ?", [text]).fetchone()
            known = self._ids[table, text] = int(row[0])
        return known

    def finish(self) -> None:
        """Note up to which version each repository was taken over."""
        self._connection.executemany(
            "UPDATE repositories SET version = ? WHERE name = ?",
            [(version, name) for name, version in self._versions.items()],
        )


def _texts(text: object) -> Mapping[str, str]:
    found = json.loads(str(text)) if text else {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}
