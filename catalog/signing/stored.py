"""Signatures as they lie in a version: Atomic ones are read, and new ones of any form are kept for a commit. No key is needed."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from catalog.catalog import Catalog
from catalog.versions.snapshot import Snapshot
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import ManifestInvalid, NotFound
from oci.kinds import COSIGN_LAYER, ENVELOPE_LAYER, attestation_tag, signature_tag
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.signing.atomic import ATOMIC, AtomicSignature, name_of
from oci.signing.cosign import SIGNATURE, SimpleSignature, read_signature
from oci.signing.sigstore_bundle import Envelope, read_envelope

_T = TypeVar("_T")
MAX_PAYLOAD = 16 * 1024 * 1024
"""No signature's payload is larger; one that is, is not read."""
MOST_SIGNATURES, MOST_BYTES = 256, 64 * 1024 * 1024
"""Signatures of one manifest that are read, and their bytes: whoever may push adds any number, and many share a large blob."""


def atomic_signatures(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> list[AtomicSignature]:
    """The Atomic signatures that refer to a manifest, in order of digest."""
    manifests = (
        read_manifest(catalog, snapshot, referrer)
        for referrer in snapshot.referrers.get(digest, ())
        if snapshot.manifests[referrer].artifact_type == ATOMIC
    )
    layers = ((manifest, layer) for manifest in manifests for layer in manifest.layers)
    return [
        AtomicSignature(name_of(manifest), catalog.rights.read(snapshot, layer.digest))
        for manifest, layer in _within_bounds(layers)
    ]


def _within_bounds(layers: Iterable[tuple[Manifest, Descriptor]]) -> Iterator[tuple[Manifest, Descriptor]]:
    """Yield those that are no larger than a signature, up to the bounds."""
    count = total = 0
    for manifest, layer in layers:
        if layer.size <= MAX_PAYLOAD:
            count, total = count + 1, total + layer.size
            if count > MOST_SIGNATURES or total > MOST_BYTES:
                return
            yield manifest, layer


def nth_atomic_signature(catalog: Catalog, snapshot: Snapshot, digest: Digest, number: int) -> bytes | None:
    """The bytes of one Atomic signature, counted from 1 in the order of `atomic_signatures`; None past the last."""
    for referrer in snapshot.referrers.get(digest, ()):
        if snapshot.manifests[referrer].artifact_type == ATOMIC:
            for layer in read_manifest(catalog, snapshot, referrer).layers:
                if layer.size <= MAX_PAYLOAD:
                    number -= 1
                    if number == 0:
                        return catalog.rights.read(snapshot, layer.digest)
    return None


def held_signatures(
    catalog: Catalog, snapshot: Snapshot, digest: Digest
) -> tuple[Manifest | None, list[SimpleSignature]]:
    """The manifest under cosign's tag for signatures of a manifest, and what can be read of it; None without that tag."""

    def read(layer: Descriptor, data: bytes) -> SimpleSignature:
        return read_signature(layer.annotations.get(SIGNATURE), data)

    return _held(catalog, snapshot, signature_tag(digest), COSIGN_LAYER, read)


def held_attestations(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> tuple[Manifest | None, list[Envelope]]:
    """The same of cosign 2's tag for attestations."""
    return _held(catalog, snapshot, attestation_tag(digest), ENVELOPE_LAYER, lambda _layer, data: read_envelope(data))


def _held(
    catalog: Catalog, snapshot: Snapshot, tag: str, media_type: str, read: Callable[[Descriptor, bytes], _T]
) -> tuple[Manifest | None, list[_T]]:
    """Read the layers under a tag that whoever may push has made: one that is malformed, or not here, spoils no other."""
    target = snapshot.tags.get(tag)
    if target is None:
        return None, []
    manifest, found = read_manifest(catalog, snapshot, target), list[_T]()
    fitting = ((manifest, layer) for layer in manifest.layers if layer.media_type == media_type)
    for _, layer in _within_bounds(fitting):
        with contextlib.suppress(ManifestInvalid, NotFound):
            found.append(read(layer, catalog.rights.read(snapshot, layer.digest)))
    return manifest, found


def stage(catalog: Catalog, repository: str, store: MemoryStore) -> None:
    """Keep what was packed, for a commit to come."""
    for digest, data in store.blobs.items():
        catalog.content.put(data, digest, repository)
    for digest, manifest in store.manifests.items():
        catalog.content.put(manifest.raw, digest, repository, manifest.media_type)


def read_manifest(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> Manifest:
    """Return a manifest of a version."""
    return catalog.manifests.read(digest, snapshot.manifests[digest].media_type)
