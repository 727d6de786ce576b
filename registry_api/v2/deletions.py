"""Tags, manifests and blobs that clients remove. Source: distribution-spec, "Content Management"."""

from catalog.versions.changes import Change, RemoveManifest, RemoveTag
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import BlobUnknown, Conflict, ManifestUnknown, NameUnknown
from oci.manifest import required_blobs
from oci.reference import is_tag
from registry_api.context import Registry
from registry_api.http.messages import RoutedRequest, WholeResponse, empty_response
from registry_api.v2.commits import commit_changes


async def delete_manifest(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Remove a tag, its manifest staying, or a manifest with all its tags; raise NameUnknown or ManifestUnknown."""
    change = _removal_of(request.reference)
    snapshot = await registry.find_served(request.name)
    if snapshot is None:
        raise NameUnknown(f"no repository {request.name!r} here")
    if isinstance(change, RemoveManifest) and change.digest in snapshot.manifests:
        await registry.threads.run(_lease_blobs, registry, snapshot, change.digest)
    result = await commit_changes(registry, request, "delete", (change,))
    if not result.changed:
        noun = "tag" if is_tag(request.reference) else "manifest"
        raise ManifestUnknown(f"{noun} {request.reference[:200]!r} is not in {request.name}")
    return empty_response(202)


def _lease_blobs(registry: Registry, snapshot: Snapshot, digest: Digest) -> None:
    """Let the repository keep a manifest's blobs for a while: a push under way may have found them and left them out."""
    manifest = registry.catalog.manifests.read(digest, snapshot.manifests[digest].media_type)
    for blob in required_blobs(manifest):
        if registry.catalog.rights.has_received(snapshot, blob.digest):
            registry.catalog.content.lease(snapshot.repository, blob.digest)


def _removal_of(reference: str) -> Change:
    return RemoveManifest(Digest.parse(reference)) if ":" in reference else RemoveTag(reference)


async def delete_blob(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Delete a blob that no manifest of the repository needs; raise BlobUnknown, or Conflict for one that is needed."""
    digest = Digest.parse(request.reference)
    snapshot = await registry.threads.run(registry.catalog.snapshots.find, request.repository)
    if snapshot is not None and digest in snapshot.blobs:
        raise Conflict(
            f"blob {digest} is part of a manifest in {request.name}; delete the manifest, and the blob goes with it"
        )
    if not await registry.threads.run(registry.catalog.content.unlink, request.repository, digest):
        raise BlobUnknown(f"blob {digest} is not in {request.name}")
    return empty_response(202)
