"""When each repository got its latest version, and which versions were made last: in memory, moved forward by one query."""

import threading
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from catalog.lake.connection import Lake
from catalog.versions.history import VERSION_COLUMNS, version_of
from catalog.versions.rows import VersionRow
from catalog.versions.version_origins import VersionOrigin, parse_origins

MOST_RECENT = 1000
"""Versions, the last that were made, that are kept."""

_MARGIN = timedelta(hours=1)
"""How much older than the newest a version may be that was written after it: clocks differ, and commits wait for each other."""

_ALL = f"""
SELECT * FROM (SELECT {VERSION_COLUMNS} FROM versions ORDER BY created_at DESC LIMIT {MOST_RECENT})
UNION ALL BY NAME
SELECT repository, arg_max(struct_pack(number, operation, created_at, origins), number) AS head,
    arg_max(struct_pack(number, operation, created_at, origins), number) FILTER (operation = 'sync') AS synced
FROM versions GROUP BY repository"""
"""The versions made last; and of each repository its latest version, and its latest sync."""
_NEW = f"SELECT {VERSION_COLUMNS} FROM versions WHERE created_at > ?"


@dataclass(frozen=True, slots=True)
class RepositoryHead:
    """A repository's latest version: its number, and when it was made; and when a sync last made one, from where."""

    number: int
    updated_at: datetime
    synced_at: datetime | None = None
    origins: tuple[VersionOrigin, ...] = ()


@dataclass(frozen=True, slots=True)
class RecentVersions:
    """The head of each repository by name, and the versions made last, the newest first."""

    heads: Mapping[str, RepositoryHead] = field(default_factory=dict)
    latest: tuple[VersionRow, ...] = ()


class RecentVersionCache:
    """Follows what was made last; usable from any thread."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._guard = threading.Lock()
        self._state: Hashable = None
        self._drops: Hashable = None
        self._found = RecentVersions()

    def read(self, *, state: Hashable, drops: Hashable) -> RecentVersions:
        """Return what was made last: from memory while `state` is the same, else by one query.

        The query reads all versions the first time, and again once `drops` is another; else those that are new.
        """
        with self._guard:
            if self._state != state:
                if self._drops == drops and self._found.latest:
                    since = self._found.latest[0].created_at - _MARGIN
                    self._found = merge_versions(self._found, map(version_of, self._lake.read(_NEW, [since])))
                else:
                    self._found = _read_all(self._lake)
                self._state, self._drops = state, drops
            return self._found


def _read_all(lake: Lake) -> RecentVersions:
    latest, heads = list[VersionRow](), dict[str, RepositoryHead]()
    for *columns, head, synced in lake.read(_ALL):
        if head is None:
            latest.append(version_of(tuple(columns)))
        else:
            heads[str(columns[0])] = _head_of(cast("Mapping[str, Any]", head), cast("Mapping[str, Any] | None", synced))
    return RecentVersions(heads, tuple(latest))


def _head_of(head: Mapping[str, Any], synced: Mapping[str, Any] | None) -> RepositoryHead:
    if synced is None:
        return RepositoryHead(head["number"], head["created_at"])
    return RepositoryHead(head["number"], head["created_at"], synced["created_at"], parse_origins(synced["origins"]))


def merge_versions(before: RecentVersions, made: Iterable[VersionRow]) -> RecentVersions:
    """Return what was known and what was made since, each version once and the newest first. Pure."""
    versions = {(one.repository, one.number): one for one in before.latest}
    heads = dict(before.heads)
    for one in sorted(made, key=lambda one: one.number):
        versions[one.repository, one.number] = one
        head = heads.get(one.repository, RepositoryHead(0, one.created_at))
        if one.number > head.number:
            synced_at, origins = head.synced_at, head.origins
            if one.operation == "sync":
                synced_at, origins = one.created_at, one.origins
            heads[one.repository] = RepositoryHead(one.number, one.created_at, synced_at, origins)
    latest = sorted(versions.values(), key=lambda one: (one.created_at, one.repository, one.number), reverse=True)
    return RecentVersions(heads, tuple(latest[:MOST_RECENT]))
