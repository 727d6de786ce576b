"""The record of commits, read from a place on: which versions, distributions and audit events each one made.

Source: DuckLake's own record (`ducklake_snapshot_changes`), where every commit leaves a note (Writer.describe).
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from catalog.audit import Event, event_of
from catalog.lake.connection import Lake
from catalog.versions.change_feed import ChangeFeed

MAX_TAGS = 1000
"""How many changed tags of a version are told; beyond that only their number is."""


@dataclass(frozen=True, slots=True)
class CommitNote:
    """What one commit made: versions by repository, distributions by path (`set` or `deleted`), rows of audit events."""

    position: int
    happened_at: datetime
    versions: Mapping[str, range] = field(default_factory=dict)
    distributions: Mapping[str, str] = field(default_factory=dict)
    acts: int = 0


@dataclass(frozen=True, slots=True)
class TagChange:
    """A tag that a version added, moved (`previous` is set) or removed (`digest` is what it pointed to)."""

    tag: str
    digest: str
    media_type: str
    size: int
    previous: str = ""


@dataclass(frozen=True, slots=True)
class VersionMade:
    """A version with its operation, counts, and the tags that it changed; `truncated`: there are more than are listed."""

    repository: str
    number: int
    operation: str
    actor: str
    flow_run_id: str
    message: str
    created_at: datetime
    tags: int
    manifests: int
    size_bytes: int
    added: tuple[TagChange, ...] = ()
    moved: tuple[TagChange, ...] = ()
    removed: tuple[TagChange, ...] = ()
    truncated: bool = False


class CommitLog:
    """Reads the record; `is_current` costs no I/O, so that whoever waits for commits may ask it often."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._feed = ChangeFeed(lake)
        self._reading = threading.Lock()
        self._looked_at = 0
        self._last: tuple[tuple[int, int, int], Sequence[CommitNote]] | None = None

    def is_current(self) -> bool:
        """Return whether nothing was committed since `look`."""
        return self._feed.is_current()

    def look(self) -> int:
        """Take the record as read up to now; return the position of the last commit."""
        changes = self._feed.read()
        self._feed.acknowledge(changes)
        self._looked_at = changes.position
        return changes.position

    def last_position(self) -> int:
        """The position of the last commit."""
        return int(str(self._lake.read_metadata("SELECT max(snapshot_id) FROM {meta}ducklake_snapshot")[0][0]))

    def read(self, after: int, *, limit: int) -> Sequence[CommitNote]:
        """The commits after a position in their order, `limit` at most. Where the record has been cut, it begins later.

        Many who are at one place ask the catalogue once for each `look`.
        """
        asked = after, limit, self._looked_at
        with self._reading:
            if self._last is None or self._last[0] != asked:
                self._last = asked, self._read(after, limit)
            return self._last[1]

    def _read(self, after: int, limit: int) -> Sequence[CommitNote]:
        rows = self._lake.read_metadata(
            "SELECT snapshot_id, CAST(snapshot_time AS TIMESTAMPTZ), commit_extra_info "
            "FROM {meta}ducklake_snapshot JOIN {meta}ducklake_snapshot_changes "
            "USING (snapshot_id) WHERE snapshot_id > ? ORDER BY snapshot_id LIMIT ?",
            [after, limit],
        )
        return [parse_note(*row) for row in rows]

    def versions_since(self, since: datetime, until: int) -> Sequence[CommitNote]:
        """Return what was made since a time, for a place in the record that has been cut: notes with position `until`,
        oldest first."""
        rows = self._lake.read(
            "SELECT repository, number, created_at FROM versions WHERE created_at >= ? ORDER BY created_at, number",
            [since],
        )
        return [
            CommitNote(until, _time(when), {str(name): range(int(str(number)), int(str(number)) + 1)})
            for name, number, when in rows
        ]

    def versions(self, repository: str, numbers: range) -> list[VersionMade]:
        """Some versions of a repository with the tags they changed; one query for them, one for their tags."""
        where, bounds = "repository = ? AND version BETWEEN ? AND ?", [repository, numbers[0], numbers[-1]]
        rows = self._lake.read(
            "SELECT version, operation, actor, flow_run_id, message, created_at, tags, manifests, size_bytes "
            f"FROM records WHERE {where} AND kind = 'version' ORDER BY version",
            bounds,
        )
        return [_version(repository, row, self._tags(repository, int(str(row[0])))) for row in rows]

    def _tags(self, repository: str, number: int) -> "list[tuple[object, ...]]":
        """Tags changed: tag, digest, media type and size now and before; one more than MAX_TAGS at most."""
        return self._lake.read(
            "SELECT tag, max(digest) FILTER (action = 'add'), max(digest) FILTER (action = 'remove'), "
            "max(media_type) FILTER (action = 'add'), max(size) FILTER (action = 'add') FROM records "
            "WHERE repository = ? AND version = ? AND kind = 'tag' GROUP BY tag ORDER BY tag LIMIT ?",
            [repository, number, MAX_TAGS + 1],
        )

    def acts(self, position: int) -> list[Event]:
        """The audit events that one commit wrote, in the order of writing."""
        rows = self._lake.read(
            "SELECT happened_at, actor, action, name, outcome, reason, address, detail "
            "FROM ducklake_table_insertions('lake', 'main', 'acts', ?, ?) ORDER BY rowid",
            [position, position],
        )
        return [event_of(row) for row in rows]


def parse_note(position: object, happened_at: object, text: object) -> CommitNote:
    """Read a commit's note; a commit without one made nothing that is told."""
    note = json.loads(str(text)) if text else {}
    first = note.get("first", {})
    distributions = note.get("distributions")
    return CommitNote(
        int(str(position)),
        _time(happened_at),
        {name: range(first.get(name, last), last + 1) for name, last in note.get("versions", {}).items()},
        distributions if isinstance(distributions, dict) else {},
        note.get("acts", 0),
    )


def _time(value: object) -> datetime:
    assert isinstance(value, datetime)
    return value


def _version(repository: str, row: tuple[object, ...], tags: "list[tuple[object, ...]]") -> VersionMade:
    number, operation, actor, flow_run_id, message, created_at, tag_count, manifests, size_bytes = row
    shown = [_tag_change(*found) for found in tags[:MAX_TAGS]]
    return VersionMade(
        repository,
        int(str(number)),
        str(operation),
        str(actor or ""),
        str(flow_run_id or ""),
        str(message or ""),
        _time(created_at),
        int(str(tag_count)),
        int(str(manifests)),
        int(str(size_bytes)),
        tuple(one for kind, one in shown if kind == "added"),
        tuple(one for kind, one in shown if kind == "moved"),
        tuple(one for kind, one in shown if kind == "removed"),
        truncated=len(tags) > MAX_TAGS,
    )


def _tag_change(tag: object, now: object, before: object, media_type: object, size: object) -> tuple[str, TagChange]:
    if now is None:
        return "removed", TagChange(str(tag), str(before), "", 0)
    kind = "added" if before is None else "moved"
    return kind, TagChange(str(tag), str(now), str(media_type or ""), int(str(size or 0)), str(before or ""))
