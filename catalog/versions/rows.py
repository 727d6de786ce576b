"""What is written to and read from the catalogue's tables, and what the readers return."""

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

from catalog.distributions.records import Distribution
from catalog.lake.nested_values import fit_number, to_text
from catalog.versions.snapshot import Delta, ManifestEntry, Snapshot
from catalog.versions.version_origins import VersionOrigin, render_origins
from oci.digest import Digest
from oci.image_config import ImageConfig
from oci.kinds import kind_of
from oci.unicode import fit_text

if TYPE_CHECKING:
    from catalog.versions.changes import Commit, Effect
    from oci.manifest import Manifest

Row = tuple[object, ...]
Record = dict[str, object]
"""A row of table `records` by column; a column that is not named is NULL."""


@dataclass(frozen=True, slots=True)
class RepositoryRow:
    """A repository as of its latest version; `size_bytes` counts each blob once."""

    name: str
    version: int
    tags: int
    manifests: int
    blobs: int
    size_bytes: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version: which operation made it, who, when, what it holds, how many changes it took, and where they came from."""

    repository: str
    number: int
    base: int
    operation: str
    operation_id: str
    actor: str
    flow_run_id: str
    message: str
    created_at: datetime
    tags: int
    manifests: int
    blobs: int
    size_bytes: int
    added: int
    removed: int
    origins: tuple[VersionOrigin, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change of one version; `tag` is empty unless `kind` is tag."""

    action: str
    kind: str
    tag: str
    digest: Digest
    size: int


def version_record(commit: "Commit", base: Snapshot, snapshot: Snapshot, delta: Delta) -> Record:
    """The record of the version itself."""
    return {
        "repository": commit.repository, "version": snapshot.version, "base": base.version, "action": "add", "kind": "version",
        "operation": commit.operation, "operation_id": commit.operation_id, "actor": commit.actor,
        "flow_run_id": commit.flow_run_id, "message": commit.message, "created_at": commit.created_at,
        "tags": len(snapshot.tags), "manifests": len(snapshot.manifests), "blobs": len(snapshot.blobs),
        "size_bytes": snapshot.size_bytes + snapshot.proven_bytes, "added": delta.added, "removed": delta.removed,
        "origins": render_origins(commit.version_origins),
    }  # fmt: skip


def change_records(
    repository: str, version: int, delta: Delta, known: Mapping[Digest, ManifestEntry], details: Mapping[Digest, Record]
) -> Iterator[Record]:
    """The records of a version's changes; `known` tells what tags point to, `details` more of the manifests that come."""

    def change(action: str, kind: str, tag: str, digest: Digest, size: int, entry: ManifestEntry | None) -> Record:
        return {
            "repository": repository, "version": version, "action": action, "kind": kind, "tag": tag,
            "digest": digest, "size": size, "media_type": entry.media_type if entry else "",
            "artifact_type": entry.artifact_type if entry else "",
            "subject": entry.subject or "" if entry and kind == "manifest" else "",
        }  # fmt: skip

    for action, tags, entries, blobs in (
        ("remove", delta.tags_removed, delta.manifests_removed, delta.blobs_removed),
        ("add", delta.tags_added, delta.manifests_added, delta.blobs_added),
    ):
        for tag, digest in tags.items():
            yield change(action, "tag", tag, digest, known[digest].size, known[digest])
        for digest, entry in entries.items():
            found = change(action, "manifest", "", digest, entry.size, entry)
            yield {**found, **details[digest]} if action == "add" else found
        for digest, size in blobs.items():
            yield change(action, "blob", "", digest, size, None)


def manifest_details(manifest: "Manifest", config: ImageConfig) -> Record:
    """Return what the record of a manifest that comes holds beyond the change."""
    labels = dict(config.labels or {})
    return {
        "manifest_kind": kind_of(manifest, labels), "os": config.os, "architecture": config.architecture,
        "variant": config.variant, "created": config.created, "labels_json": to_text(labels),
        "annotations_json": to_text(manifest.annotations),
        "children_json": to_text([
            {"role": role, "digest": child.digest, "media_type": child.media_type, "size": child.size,
             "platform": str(child.platform or "")}
            for role, child in manifest.children()
        ]),
    }  # fmt: skip


def first_distribution(commit: "Commit", version: int) -> Distribution:
    """Return what serves a repository from its first version on, which has that number."""
    now, private = commit.created_at, commit.serve == "private"
    return Distribution(commit.repository, commit.repository, now, now, private=private, history_from=version)


def effect_records(
    commit: "Commit", base: Snapshot, snapshot: Snapshot, effect: "Effect", configs: Mapping[Digest, ImageConfig]
) -> list[Record]:
    """All records that one version adds."""
    known = ChainMap(dict(effect.delta.manifests_added), cast("dict[Digest, ManifestEntry]", base.manifests))
    details = {
        found.digest: manifest_details(found, configs.get(found.digest, ImageConfig())) for found in effect.manifests
    }
    changes = change_records(commit.repository, snapshot.version, effect.delta, known, details)
    return [version_record(commit, base, snapshot, effect.delta), *changes]


_CUT = dict.fromkeys(("os", "architecture", "variant", "created"), 255)
"""Characters that are kept of what is never longer: each commit writes the longest of a column once more."""


def _fit(column: str, value: object) -> object:
    match value:
        case str():
            return fit_text(value, _CUT.get(column))
        case int():
            return fit_number(value)
        case _:
            return value


def fit_records(records: Iterable[Record]) -> list[Record]:
    """Return the records with texts and numbers made fit for the catalogue.

    What a manifest or its config says may be any JSON. Its bytes stay as they are.
    """
    return [{name: _fit(name, value) for name, value in record.items()} for record in records]


def claims_of(rows: Iterable[tuple[object, ...]]) -> dict[Digest, int]:
    """Return the blobs that came without their bytes, and the sizes that manifests claim."""
    return {Digest(row[2]): int(str(row[3])) for row in rows if row[0] == "deferred"}


STATE_OF_ONE = """
SELECT kind, tag, digest, any_value(size), any_value(media_type), any_value(artifact_type), any_value(subject)
FROM records
WHERE repository = ? AND (kind IN ('tag', 'manifest', 'blob') AND version <= ? OR kind = 'version' AND version = ?)
GROUP BY kind, tag, digest HAVING sum(CASE action WHEN 'add' THEN 1 ELSE -1 END) > 0
UNION ALL
SELECT 'deferred', '', digest, CASE WHEN min(size) = max(size) THEN min(size) ELSE -1 END, '', '', ''
FROM sources WHERE repository = ? AND version <= ? GROUP BY digest"""
"""The version's own row comes along: in one look at the lake, so that nobody deletes the version between two."""

TAGS_OF_ONE = """
SELECT kind, tag, digest, any_value(size), any_value(media_type), any_value(artifact_type), any_value(subject)
FROM records
WHERE repository = ? AND (kind IN ('tag', 'manifest') AND version <= ? OR kind = 'version' AND version = ?)
GROUP BY kind, tag, digest HAVING sum(CASE action WHEN 'add' THEN 1 ELSE -1 END) > 0"""
"""The same without blobs, which takes half as long."""

STEP_OF_ONE = """
SELECT kind, tag, digest, any_value(size), any_value(media_type), any_value(artifact_type), any_value(subject),
    sum(CASE action WHEN 'add' THEN 1 ELSE -1 END) AS net
FROM records WHERE repository = ?
    AND (kind IN ('tag', 'manifest', 'blob') AND version > ? AND version <= ? OR kind = 'version' AND version IN (?, ?))
GROUP BY kind, tag, digest HAVING net <> 0
UNION ALL
SELECT 'deferred', '', digest, CASE WHEN min(size) = max(size) THEN min(size) ELSE -1 END, '', '', '', 1
FROM sources WHERE repository = ? AND version > ? AND version <= ? GROUP BY digest"""

STATES_OF_MANY = """
WITH wanted AS (SELECT unnest(string_split(?, ' ')) AS repository, unnest(string_split(?, ' '))::BIGINT AS number)
SELECT kind, tag, digest, any_value(size), any_value(media_type), any_value(artifact_type), any_value(subject), repository
FROM records JOIN wanted USING (repository)
WHERE kind IN ('tag', 'manifest', 'blob') AND version <= number OR kind = 'version' AND version = number
GROUP BY repository, kind, tag, digest HAVING sum(CASE action WHEN 'add' THEN 1 ELSE -1 END) > 0
UNION ALL
SELECT 'deferred', '', digest, CASE WHEN min(size) = max(size) THEN min(size) ELSE -1 END, '', '', '', repository
FROM sources JOIN wanted USING (repository) WHERE version <= number GROUP BY repository, digest"""
"""The same of many repositories: one question costs hardly more than that of one while rows lie in the bookkeeping."""


def sort_members(
    rows: Iterable[tuple[object, ...]],
) -> tuple[dict[str, Digest], dict[Digest, ManifestEntry], dict[Digest, int]]:
    """Return the tags, manifests and blobs that rows of a version name."""
    tags: dict[str, Digest] = {}
    manifests: dict[Digest, ManifestEntry] = {}
    blobs: dict[Digest, int] = {}
    for kind, tag, digest_text, size, media_type, artifact_type, subject, *_ in rows:
        if kind in ("version", "deferred"):
            continue
        digest = Digest(digest_text)
        if kind == "tag":
            tags[str(tag)] = digest
        elif kind == "blob":
            blobs[digest] = int(str(size))
        else:
            named = Digest(subject) if subject else None
            manifests[digest] = ManifestEntry(str(media_type), int(str(size)), str(artifact_type), named)
    return tags, manifests, blobs
