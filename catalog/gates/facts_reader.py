"""Reads the facts that gates judge by; only what came since the last look is read again."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from catalog.gates.repository_facts import RepositoryFacts, add_rows
from catalog.lake.connection import Lake
from catalog.lake.nested_values import as_nested
from catalog.lake.reading import listed
from oci.digest import Digest

_KEPT = 256
"""Repositories whose facts are in memory."""

_CREATED = f"coalesce(nullif(created, ''), {as_nested('records', 'annotations')}['org.opencontainers.image.created'])"
_CHILDREN = f"""list_transform({as_nested("records", "children")},
    lambda child: struct_pack(role := child.role, media_type := child.media_type, digest := child.digest))"""

_SINCE = f"""SELECT kind, version, action, tag, created_at, digest,
    CASE kind WHEN 'manifest' THEN {_CREATED} END, CASE kind WHEN 'manifest' THEN {_CHILDREN} END
FROM records WHERE repository = ? AND version > ? AND (
    kind IN ('version', 'squashed', 'tag') OR kind = 'manifest' AND action = 'add')
ORDER BY version, action DESC"""
"""A version that moves a tag removes it first. A row of a squashed version's manifest keeps when it came (`deletion`)."""

_ELSEWHERE = """WITH ours AS (
    SELECT DISTINCT name FROM version_origins WHERE repository = ? AND kind = 'remote'),
theirs AS (
    SELECT DISTINCT repository, number AS version FROM version_origins JOIN ours USING (name)
    WHERE kind = 'remote' AND repository <> ?)
SELECT digest, min(coalesce(records.created_at, made.created_at))
FROM records JOIN theirs USING (repository, version)
JOIN (SELECT repository, version, created_at FROM records WHERE kind = 'version') AS made USING (repository, version)
WHERE records.kind = 'manifest' AND action = 'add' AND digest IN (SELECT unnest(string_split(?, ' '))) GROUP BY digest"""

_ONLY_PARTS_OF = f"""WITH ours AS (SELECT unnest(string_split(?, ' ')) AS digest),
    others AS (SELECT unnest(string_split(?, ' ')) AS digest)
SELECT part, any_value(digest) FILTER (is_ours) FROM (
    SELECT digest, digest IN (FROM ours) AS is_ours, digest IN (FROM others) AS is_other, unnest(list_transform(
        list_filter({as_nested("records", "children")}, lambda child: child.role <> 'manifest'),
        lambda child: child.digest)) AS part
    FROM records WHERE repository = ? AND kind = 'manifest' AND action = 'add')
WHERE part <> '{Digest.of(b"{}")}' GROUP BY part HAVING bool_and(is_ours OR is_other) AND bool_or(is_ours)"""
"""The empty config is part of all kinds of artifacts."""


class RepositoryFactsReader:
    """Keeps the facts of the repositories asked for last; usable from any thread."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._kept: OrderedDict[str, tuple[int, RepositoryFacts]] = OrderedDict()
        self._guard = threading.Lock()

    def read(self, repository: str, version: int, *, drops: int) -> RepositoryFacts:
        """Return a repository's facts up to a version at least; at most one query.

        `drops` is another number as soon as versions were deleted: then all is read again.
        """
        with self._guard:
            known_drops, known = self._kept.get(repository, (drops, RepositoryFacts(repository)))
        if known_drops != drops:
            known = RepositoryFacts(repository)
        if known.version >= version:
            return known
        rows = self._lake.read(_SINCE, [repository, known.version])
        latest = max((int(str(row[1])) for row in rows), default=version)
        facts = add_rows(known, max(version, latest), rows)
        with self._guard:
            self._kept[repository] = drops, facts
            self._kept.move_to_end(repository)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return facts

    def seen_elsewhere(self, repository: str, digests: Collection[Digest]) -> Mapping[Digest, datetime]:
        """Return when manifests first came from one of the repository's own upstreams into another repository here; one query."""
        if not digests:
            return {}
        rows = self._lake.read(_ELSEWHERE, [repository, repository, listed(digests)])
        return {Digest(digest): when.astimezone(UTC) for digest, when in rows if isinstance(when, datetime)}

    def only_parts_of(self, facts: RepositoryFacts, digests: Collection[Digest]) -> Mapping[Digest, Digest]:
        """Return the blobs that no other manifests of a repository name than these, and statements; each with one that does.

        One query. Statements do not count, since whoever pushes may name any blob in one.
        """
        if not digests:
            return {}
        statements = [digest for digest, one in facts.manifests.items() if one.is_companion]
        rows = self._lake.read(_ONLY_PARTS_OF, [listed(digests), listed(statements), facts.repository])
        return {Digest(part): Digest(parent) for part, parent in rows}
