"""Pulls of manifests. Source: distribution-spec, "Pulling manifests"."""

from functools import lru_cache, partial

from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci.digest import Digest
from oci.errors import DigestInvalid, ManifestUnknown
from registry_api.context import Registry
from registry_api.http.conditional import is_unchanged, not_modified_headers
from registry_api.http.messages import Headers, RoutedRequest, WholeResponse, with_headers
from registry_api.v2.pull_counting import note_pull


async def get_manifest(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond to GET by tag or digest with the bytes that were pushed, whatever the client accepts."""
    digest, entry, warnings = await _resolve(registry, request)
    if is_unchanged(request, digest):
        note_pull(registry, request.repository, request.reference, digest)
        return WholeResponse(304, [*not_modified_headers(digest), *warnings])
    raw = registry.catalog.manifests.cached(digest)
    if raw is None:
        raw = await registry.threads.run(registry.catalog.manifests.raw, digest)
    note_pull(registry, request.repository, request.reference, digest)
    headers = _headers(digest, entry.media_type, entry.size)
    return WholeResponse(200, [*headers, *warnings] if warnings else headers, raw)


async def head_manifest(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond to HEAD by tag or digest; this needs the snapshot alone."""
    digest, entry, warnings = await _resolve(registry, request)
    if is_unchanged(request, digest):
        return WholeResponse(304, [*not_modified_headers(digest), *warnings])
    headers = _headers(digest, entry.media_type, entry.size)
    return WholeResponse(200, [*headers, *warnings] if warnings else headers)


async def _resolve(registry: Registry, request: RoutedRequest) -> tuple[Digest, ManifestEntry, Headers]:
    """Return what a path serves under a reference now, with the warnings of gates; raise ManifestUnknown, PullRefused."""
    snapshot = registry.catalog.serving.cached(request.name) or await registry.served(request.name)
    view = await registry.find_view(request.name, snapshot) if registry.gates.active else None
    if view is not None:
        view.check(request.reference)
        snapshot = view.snapshot
    digest = resolve_reference(snapshot, request.reference, request.name)
    warnings = () if view is None else view.headers_of(request.reference, digest)
    basis = registry.policy_gate.in_force
    if basis is not None:
        tag = "" if ":" in request.reference else request.reference
        content = registry.gated(request.name, snapshot, view)
        # Who signs a manifest has to read it first, by its digest and without its blobs.
        signs = None if tag else partial(registry.may_push, request.caller, request.name)
        told = await registry.policy_gate.check_manifest(content, digest, tag, request.user, basis=basis, signs=signs)
        warnings = (*warnings, *told)
    return digest, snapshot.manifests[digest], warnings


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
