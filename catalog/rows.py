"""What is written to and read from the catalogue's tables, and what the readers return."""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from catalog.changes import Commit, Effect
from catalog.distributions import Distribution, distribution_row
from catalog.snapshot import Delta, ManifestEntry, Snapshot
from oci.digest import Digest
from oci.kinds import kind_of
from oci.manifest import Manifest

Row = tuple[object, ...]


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
    """One version: which operation made it, who, when, what it holds and how many changes it took."""

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


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One change of one version; `tag` is empty unless `kind` is tag."""

    action: str
    kind: str
    tag: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What the catalogue keeps of an image's config."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    created: str = ""
    labels: Mapping[str, str] | None = None


def version_row(commit: Commit, snapshot: Snapshot, delta: Delta) -> Row:
    """The row of table `versions`."""
    return (
        commit.repository, snapshot.version, snapshot.version - 1, commit.operation, commit.operation_id, commit.actor,
        commit.flow_run_id, commit.message, commit.created_at, len(snapshot.tags), len(snapshot.manifests),
        len(snapshot.blobs), snapshot.size_bytes, delta.added, delta.removed,
    )  # fmt: skip


def change_rows(
    repository: str, version: int, delta: Delta, manifests: Mapping[Digest, ManifestEntry]
) -> Iterator[Row]:
    """The rows of table `changes`; `manifests` tells what tags point to, before and after."""
    for action, tags, entries, blobs in (
        ("remove", delta.tags_removed, delta.manifests_removed, delta.blobs_removed),
        ("add", delta.tags_added, delta.manifests_added, delta.blobs_added),
    ):
        for tag, digest in tags.items():
            entry = manifests[digest]
            yield repository, version, action, "tag", tag, digest, entry.size, entry.media_type, entry.artifact_type, ""
        for digest, entry in entries.items():
            subject = str(entry.subject or "")
            yield (
                repository, version, action, "manifest", "", digest, entry.size, entry.media_type, entry.artifact_type,
                subject,
            )  # fmt: skip
        for digest, size in blobs.items():
            yield repository, version, action, "blob", "", digest, size, "", "", ""


def manifest_row(repository: str, manifest: Manifest, config: ImageConfig) -> Row:
    """The row of table `manifests`."""
    labels = dict(config.labels or {})
    return (
        repository, manifest.digest, manifest.media_type, manifest.artifact_type, kind_of(manifest, labels), manifest.size,
        str(manifest.subject.digest) if manifest.subject else "", config.os, config.architecture, config.variant,
        config.created, labels, dict(manifest.annotations), [
            {"role": role, "digest": child.digest, "media_type": child.media_type, "size": child.size,
             "platform": str(child.platform or "")}
            for role, child in manifest.children()
        ],
    )  # fmt: skip


def first_distribution(commit: Commit) -> Distribution:
    """What serves a repository from its first version on."""
    return Distribution(commit.repository, commit.repository, commit.created_at, commit.created_at)


def effect_rows(
    commit: Commit, base: Snapshot, snapshot: Snapshot, effect: Effect, configs: Mapping[Digest, ImageConfig]
) -> dict[str, list[Row]]:
    """All rows that one version adds, by table; the first version of a repository is served under its name from then on."""
    name, is_new = commit.repository, base.version == 0
    known = ChainMap(dict(effect.delta.manifests_added), cast("dict[Digest, ManifestEntry]", base.manifests))
    return {
        "repositories": [(name, commit.created_at)] if is_new else [],
        "distributions": [distribution_row(first_distribution(commit))] if is_new else [],
        "versions": [version_row(commit, snapshot, effect.delta)],
        "changes": list(change_rows(name, snapshot.version, effect.delta, known)),
        "manifests": [
            manifest_row(name, found, configs.get(found.digest, ImageConfig())) for found in effect.manifests
        ],
    }
