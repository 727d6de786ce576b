"""Signatures as they lie in a version: Atomic ones are read, and new ones of any form are kept for a commit. No key is needed."""

from catalog.catalog import Catalog
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.signing.atomic import ATOMIC, AtomicSignature, name_of

MAX_PAYLOAD = 16 * 1024 * 1024
"""No signature's payload is larger; one that is, is not read."""


def atomic_signatures(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> list[AtomicSignature]:
    """The Atomic signatures that refer to a manifest, in order of digest."""
    found: list[AtomicSignature] = []
    for referrer in snapshot.referrers.get(digest, ()):
        if snapshot.manifests[referrer].artifact_type == ATOMIC:
            manifest = read_manifest(catalog, snapshot, referrer)
            layers = [layer for layer in manifest.layers if layer.size <= MAX_PAYLOAD]
            found += [
                AtomicSignature(name_of(manifest), catalog.rights.read(snapshot, layer.digest)) for layer in layers
            ]
    return found


def stage(catalog: Catalog, repository: str, store: MemoryStore) -> None:
    """Keep what was packed, for a commit to come."""
    for digest, data in store.blobs.items():
        catalog.content.put(data, digest, repository)
    for digest, manifest in store.manifests.items():
        catalog.content.put(manifest.raw, digest, repository, manifest.media_type)


def read_manifest(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> Manifest:
    """Return a manifest of a version."""
    return catalog.manifests.read(digest, snapshot.manifests[digest].media_type)
