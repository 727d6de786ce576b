"""Atomic signatures of manifests, as podman and skopeo get and put them.

Sources: containers/image, registry extension API; containers-registries.d(5), "lookaside".
"""

import json

from catalog.catalog import Catalog
from catalog.signing.stored import atomic_signatures, nth_atomic_signature, stage
from catalog.versions.changes import AddManifest
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.memory import MemoryStore
from oci.signing.atomic import AtomicSignature, pack_atomic, parse_atomic
from oci.signing.pgp_messages import LIMIT
from registry_api.context import Registry
from registry_api.http.bodies import read_whole
from registry_api.http.errors import SignatureUnknown
from registry_api.http.messages import RoutedRequest, WholeResponse, empty_response, json_response, with_headers
from registry_api.v2.commits import commit_changes

SUPPORTED = (b"x-registry-supports-signatures", "1")
"""The header of /v2/ that tells clients about the extension."""


async def get_signatures(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond with a manifest's signatures, an empty list for an unsigned one; raise ManifestUnknown."""
    snapshot, digest = await _find(registry, request)
    signatures = await registry.threads.run(atomic_signatures, registry.catalog, snapshot, digest)
    return json_response(json.dumps({"signatures": [signature.to_json() for signature in signatures]}).encode())


async def get_lookaside_signature(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond with one signature as it was made, by its number from 1; raise ManifestUnknown, SignatureUnknown."""
    snapshot, digest = await _find(registry, request)
    number = int(request.path.rpartition("-")[2])
    found = await registry.threads.run(nth_atomic_signature, registry.catalog, snapshot, digest, number)
    if found is None:
        raise SignatureUnknown("no such signature")
    headers = with_headers((b"content-type", "application/octet-stream"), (b"content-length", str(len(found))))
    return WholeResponse(200, headers, found)


async def put_signature(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Add a signature as one version, none for a signature that is there already; raise SignatureInvalid, ManifestUnknown."""
    snapshot, digest = await _find(registry, request)
    raw = await read_whole(request.receive, limit=LIMIT, announced=request.content_length)
    signature = parse_atomic(raw, digest)
    change = await registry.threads.run(_store, registry.catalog, snapshot, digest, signature)
    await commit_changes(registry, request, "sign", (change,))
    return empty_response(201, (b"location", request.path))


async def _find(registry: Registry, request: RoutedRequest) -> tuple[Snapshot, Digest]:
    digest = Digest.parse(request.reference)
    snapshot = await registry.served(request.name)
    if digest not in snapshot.manifests:
        raise ManifestUnknown(f"manifest {digest} is not in {request.name}")
    return snapshot, digest


def _store(catalog: Catalog, snapshot: Snapshot, digest: Digest, signature: AtomicSignature) -> AddManifest:
    store = MemoryStore()
    subject = catalog.manifests.read(digest, snapshot.manifests[digest].media_type)
    packed = pack_atomic(store, signature, subject)
    stage(catalog, snapshot.repository, store)
    return AddManifest(packed.descriptor)
