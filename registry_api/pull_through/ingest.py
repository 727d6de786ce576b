"""Ingest: manifests that a client's request fetches from upstream are committed, one version for each upstream request."""

from collections.abc import Sequence
from typing import Literal

from catalog.blobs.origins import Origin, parts_now
from catalog.content.copy_ends import RepositoryTarget
from catalog.versions.changes import AddManifest, Change, Commit
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import remote_origins
from oci.copy import GraphCopier
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.manifest import Manifest
from oci.remote.address import Remote
from oci.target import Source
from registry_api.context import Registry


async def ingest_manifests(
    registry: Registry,
    snapshot: Snapshot,
    source: Source,
    roots: Sequence[Descriptor],
    changes: Sequence[Change] = (),
    *,
    origin: Origin,
    remote: Remote,
    actor: str,
    serve: Literal["public", "private", "nobody"],
) -> None:
    """Copy manifests and commit them. Layers and children stay upstream; `origin` records where to fetch them."""
    copier = GraphCopier(source, RepositoryTarget(registry.catalog, snapshot, source=source), parts=_parts)
    try:
        for root in roots:
            await copier.copy(Descriptor(root.media_type, root.digest, UNKNOWN_SIZE))
    finally:
        await copier.close()
    commit = Commit(
        repository=snapshot.repository,
        operation="pull-through",
        changes=(*map(AddManifest, roots), *changes),
        operation_id=registry.make_id(),
        actor=actor,
        message=f"{remote} {roots[0].digest}",
        created_at=registry.now(),
        allow_sparse=True,
        origin=origin,
        version_origins=remote_origins([remote]),
        serve=serve,
    )
    await registry.threads.commit(registry.catalog.commits.commit, commit)


def _parts(manifest: Manifest) -> list[tuple[str, Descriptor]]:
    """Return what is copied with a manifest at once: its config, and the parts of a companion of an image."""
    return [(role, part) for role, part in parts_now(manifest.children(), manifest) if role != "manifest"]
