"""Atomic signatures of manifests, as podman and skopeo get and put them. Source: containers/image, registry extension API."""

import json

from catalog.catalog import Catalog
from catalog.signing.verification import atomic_signatures, stage
from catalog.versions.changes import AddManifest
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.memory import MemoryStore
from oci.signing.atomic import AtomicSignature, pack_atomic, parse_atomic
from oci.signing.pgp_messages import LIMIT
from registry_api.context import Registry
from registry_api.http.bodies import read_whole
from registry_api.http.messages import Answer, Request, empty_answer, json_answer
from registry_api.v2.commits import commit_changes

SUPPORTED = (b"x-registry-supports-signatures", "1")
"""By this header of /v2/ clients know that they may ask."""


async def get_signatures(registry: Registry, request: Request) -> Answer:
    """Answer with a manifest's signatures, an empty list for an unsigned one; raise ManifestUnknown."""
    snapshot, digest = await _find(registry, request)
    found = await registry.threads.run(atomic_signatures, registry.catalog, snapshot, digest)
    return json_answer(json.dumps({"signatures": [one.to_json() for one in found]}).encode())


async def put_signature(registry: Registry, request: Request) -> Answer:
    """Take a signature in, as one version; one that is there already makes none. Raise SignatureInvalid, ManifestUnknown."""
    snapshot, digest = await _find(registry, request)
    raw = await read_whole(request.receive, limit=LIMIT, announced=request.content_length)
    signature = parse_atomic(raw, digest)
    made = await registry.threads.run(_keep, registry.catalog, snapshot, digest, signature)
    await commit_changes(registry, request, "sign", (made,))
    return empty_answer(201, (b"location", request.path))


async def _find(registry: Registry, request: Request) -> tuple[Snapshot, Digest]:
    digest = Digest.parse(request.reference)
    snapshot = await registry.served(request.name)
    if digest not in snapshot.manifests:
        raise ManifestUnknown(f"manifest {digest} is not in {request.name}")
    return snapshot, digest


def _keep(catalog: Catalog, snapshot: Snapshot, digest: Digest, signature: AtomicSignature) -> AddManifest:
    store = MemoryStore()
    subject = catalog.manifests.read(digest, snapshot.manifests[digest].media_type)
    made = pack_atomic(store, signature, subject)
    stage(catalog, snapshot.repository, store)
    return AddManifest(made.descriptor)
