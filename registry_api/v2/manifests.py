"""Pulls of manifests. Source: distribution-spec, "Pulling manifests"."""

from functools import lru_cache

from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import DigestInvalid, ManifestUnknown
from registry_api.context import Registry
from registry_api.http.conditional import is_unchanged, not_modified_headers
from registry_api.http.messages import Headers, RoutedRequest, WholeResponse, with_headers
from registry_api.v2.pull_counting import note_pull


async def get_manifest(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond to GET by tag or digest with the bytes that were pushed, whatever the client accepts."""
    snapshot = registry.catalog.serving.cached(request.name) or await registry.served(request.name)
    digest = resolve_reference(snapshot, request.reference, request.name)
    entry = snapshot.manifests[digest]
    if is_unchanged(request, digest):
        note_pull(registry, request.repository, request.reference, digest)
        return WholeResponse(304, not_modified_headers(digest))
    raw = registry.catalog.manifests.cached(digest)
    if raw is None:
        raw = await registry.threads.run(registry.catalog.manifests.raw, digest)
    note_pull(registry, request.repository, request.reference, digest)
    return WholeResponse(200, _headers(digest, entry.media_type, entry.size), raw)


async def head_manifest(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond to HEAD by tag or digest; this needs the snapshot alone."""
    snapshot = registry.catalog.serving.cached(request.name) or await registry.served(request.name)
    digest = resolve_reference(snapshot, request.reference, request.name)
    entry = snapshot.manifests[digest]
    if is_unchanged(request, digest):
        return WholeResponse(304, not_modified_headers(digest))
    return WholeResponse(200, _headers(digest, entry.media_type, entry.size))


def resolve_reference(snapshot: Snapshot, reference: str, path: str) -> Digest:
    """Return the digest of a tag or digest text; raise ManifestUnknown, or DigestInvalid for a malformed digest.

    The error names the requested path: the repository may have another name, which not everybody may know.
    """
    try:
        return snapshot.resolve(reference)
    except ManifestUnknown:
        if ":" in reference:
            Digest.parse(reference)
        noun = "manifest" if ":" in reference else "tag"
        raise ManifestUnknown(f"{noun} {reference[:200]!r} is not in {path}") from None


@lru_cache(maxsize=16384)
def _headers(digest: Digest, media_type: str, size: int) -> Headers:
    """Return the headers of a manifest; cached, since the fastest path spends its time here."""
    return tuple(
        with_headers(
            (b"content-type", media_type),
            (b"content-length", str(size)),
            (b"docker-content-digest", digest),
            (b"etag", f'"{digest}"'),
        )
    )


def check_digest(actual: Digest, reference: str) -> None:
    """Raise DigestInvalid when content pushed by digest has another digest."""
    if actual != reference:
        raise DigestInvalid(f"expected {reference}, but the content received is {actual}")
