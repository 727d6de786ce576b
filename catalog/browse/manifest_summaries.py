"""What lists of tags say of manifests: kind, platforms, bytes to pull, and how often they were pulled; one query for a page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from catalog.lake.connection import Lake
from catalog.lake.reading import listed
from catalog.pull_counts import PullCount, PullSums, sum_pulls
from oci.digest import Digest

_READ = """
WITH mine AS (
    SELECT digest, any_value(manifest_kind) AS kind, any_value(size) AS size, any_value(os) AS os,
        any_value(architecture) AS architecture, any_value(variant) AS variant, any_value(created) AS created,
        any_value(coalesce(children_json, to_json(children)::VARCHAR)) AS parts
    FROM records WHERE repository = $repository AND kind = 'manifest' AND action = 'add' GROUP BY digest
), shown AS (SELECT * FROM mine WHERE digest IN (SELECT unnest(string_split($digests, ' '))))
SELECT digest, kind, size, os, architecture, variant, created, parts, NULL AS tag, NULL AS pulls, NULL AS last_pulled_at
FROM shown
UNION ALL
SELECT digest, kind, size, os, architecture, variant, created, parts, NULL, NULL, NULL FROM mine
WHERE digest IN (SELECT unnest(from_json(parts, '[{"digest": "VARCHAR"}]'), recursive := true) FROM shown WHERE kind = 'index')
UNION ALL
SELECT digest, NULL, NULL, NULL, NULL, NULL, NULL, NULL, tag, pulls, last_pulled_at FROM pull_counts
WHERE repository = $repository"""


@dataclass(frozen=True, slots=True)
class ManifestSummary:
    """A manifest in short. `bytes` are those of a pull: of an index, of all its images that are known here."""

    kind: str
    platforms: tuple[str, ...]
    bytes: int
    created: str


@dataclass(frozen=True, slots=True)
class ManifestSummaries:
    """Summaries by digest, and the pulls of the whole repository."""

    by_digest: Mapping[Digest, ManifestSummary]
    pulls: PullSums = field(default_factory=lambda: sum_pulls({}))


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    platform: str
    created: str
    bytes: int
    children: Sequence[Mapping[str, Any]]


def read_summaries(lake: Lake, repository: str, digests: Iterable[Digest]) -> ManifestSummaries:
    """Return summaries of some manifests of a repository, and its pulls; one query."""
    wanted = list(dict.fromkeys(digests))
    rows, counts = dict[str, _Row](), dict[tuple[str, str], PullCount]()
    for digest, kind, size, os, architecture, variant, created, parts, tag, pulls, last in lake.read(
        _READ,
        {"repository": repository, "digests": listed(wanted)},
    ):
        if pulls is not None:
            counts[str(tag), str(digest)] = PullCount(cast("int", pulls), cast("Any", last))
            continue
        children = json.loads(str(parts)) if parts else []
        own = sum(int(child["size"] or 0) for child in children if child["role"] != "manifest")
        platform = "/".join(str(text) for text in (os, architecture, variant) if text)
        rows[str(digest)] = _Row(str(kind or ""), platform, str(created or ""), int(str(size or 0)) + own, children)
    found = {digest: _summary(rows[digest], rows) for digest in wanted if digest in rows}
    return ManifestSummaries(found, sum_pulls(counts))


def _summary(row: _Row, rows: Mapping[str, _Row]) -> ManifestSummary:
    children = [child for child in row.children if child["role"] == "manifest"]
    if not children:
        return ManifestSummary(row.kind, (row.platform,) if row.platform else (), row.bytes, row.created)
    platforms = [str(child["platform"] or "") for child in children]
    known = {str(child["digest"]): rows[str(child["digest"])] for child in children if str(child["digest"]) in rows}
    return ManifestSummary(
        row.kind,
        tuple(dict.fromkeys(one for one in platforms if one and not one.startswith("unknown"))),
        row.bytes + sum(one.bytes for one in known.values()),
        max((one.created for one in known.values()), default=""),
    )
