"""Folders as docker-registry and tools of image layouts leave them, made of a store in memory."""

import json
from collections.abc import Mapping
from pathlib import Path

from oci.digest import Digest
from oci.layout import TAG
from oci.manifest import Manifest
from oci.memory import MemoryStore


def registry_root(root: Path) -> Path:
    """The folder below which layout v2 of docker-registry lies."""
    return root / "docker" / "registry" / "v2"


def data_path(root: Path, digest: Digest) -> Path:
    """Where docker-registry keeps the bytes of a digest."""
    return registry_root(root) / "blobs" / digest.algorithm / digest.encoded[:2] / digest.encoded / "data"


def tag_link(root: Path, name: str, tag: str) -> Path:
    """Where docker-registry says what a tag points to."""
    return registry_root(root) / "repositories" / name / "_manifests" / "tags" / tag / "current" / "link"


def revision_link(root: Path, name: str, digest: Digest) -> Path:
    """Where docker-registry says that a repository has a manifest."""
    revisions = registry_root(root) / "repositories" / name / "_manifests" / "revisions"
    return revisions / digest.algorithm / digest.encoded / "link"


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def write_repository(root: Path, name: str, store: MemoryStore) -> None:
    """Write what a store holds as a repository of docker-registry."""
    (registry_root(root) / "repositories" / name / "_manifests" / "tags").mkdir(parents=True, exist_ok=True)
    for digest, data in store.blobs.items():
        write(data_path(root, digest), data)
        layers = registry_root(root) / "repositories" / name / "_layers" / digest.algorithm / digest.encoded
        write(layers / "link", digest)
    for digest, manifest in store.manifests.items():
        write(data_path(root, digest), manifest.raw)
        write(revision_link(root, name, digest), digest)
    for tag, digest in store.tagged.items():
        write(tag_link(root, name, tag), digest)


def write_layout(folder: Path, store: MemoryStore, *, listed: tuple[Manifest, ...] = ()) -> None:
    """Write what a store holds as an image layout; `listed` are manifests that index.json names without a tag."""
    entries: list[Mapping[str, object]] = [
        {**store.manifests[digest].descriptor.to_json(), "annotations": {TAG: tag}}
        for tag, digest in store.tagged.items()
    ]
    entries += [manifest.descriptor.to_json() for manifest in listed]
    write(folder / "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}))
    write(folder / "index.json", json.dumps({"schemaVersion": 2, "manifests": entries}))
    for digest, data in {**store.blobs, **{digest: one.raw for digest, one in store.manifests.items()}}.items():
        write(folder / "blobs" / digest.algorithm / digest.encoded, data)
