"""What documents say about one image, read once for all who look at it while its version is the same."""

from dataclasses import dataclass

from catalog.content.documents import LIMIT_OF_REQUESTS, ImageDocuments, read_documents
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.reference import ContentReference, parse_content_reference
from registry_api.pages.framework.visible_paths import VisiblePath, read_visible_paths
from registry_api.pages.framework.visits import Visit

_PER_TEXT = 150
"""Bytes in memory, about."""


@dataclass(frozen=True, slots=True)
class LookedAt:
    """The manifest that a page is about, at the path and in the version where it is looked at."""

    reference: ContentReference
    path: VisiblePath
    snapshot: Snapshot
    digest: Digest


async def find_image(visit: Visit, reference: str) -> LookedAt:
    """Return what a reference means to the caller; raise NameUnknown or ManifestUnknown."""
    wanted = parse_content_reference(reference)
    visit.paths = await read_visible_paths(visit)
    return await visit.threads.run(_find, visit, wanted)


def _find(visit: Visit, wanted: ContentReference) -> LookedAt:
    path = visit.paths.find(wanted.repository)
    snapshot = visit.snapshot_of(path)
    text = str(wanted.digest) if wanted.digest else wanted.tag or "latest"
    try:
        digest = snapshot.resolve(text)
    except ManifestUnknown:  # its message names the repository, which the caller may not know
        raise ManifestUnknown(f"{wanted} is not here") from None
    if wanted.tag and snapshot.tags.get(wanted.tag) != digest:
        raise ManifestUnknown(f"{wanted} is not here")
    return LookedAt(wanted, path, snapshot, digest)


async def find_documents(visit: Visit, found: LookedAt) -> ImageDocuments:
    """Return what the documents about an image say; read in a turn of the caller's."""

    async def make() -> ImageDocuments:
        return await visit.threads.make(read_documents, visit.catalog, found.snapshot, found.digest, LIMIT_OF_REQUESTS)

    key = ("documents", found.path.repository, found.digest)
    return await visit.registry.responses.get(key, found.snapshot.version, visit.cost_key, make, size_in_memory)


def size_in_memory(documents: ImageDocuments) -> int:
    """Return the bytes that documents take, about. Pure."""
    packages = documents.packages or {}
    texts = sum(
        _PER_TEXT * (1 + len(versions)) + 4 * sum(map(len, (name, *versions))) for name, versions in packages.items()
    )
    return 10_000 + texts + 200_000 * len(documents.statements)
