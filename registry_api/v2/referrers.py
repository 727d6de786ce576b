"""Referrers of manifests. Source: distribution-spec, "Listing Referrers"."""

import json
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from catalog.catalog import Catalog
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.manifest import MAX_BYTES
from oci.mediatypes import OCI_INDEX
from registry_api.context import Registry
from registry_api.http.messages import RoutedRequest, WholeResponse, with_headers
from registry_api.http.paging import next_link
from registry_api.http.response_cache import body_size

_FEW = 50
"""Referrers below which a page of cached descriptors is made without a thread."""

_ENVELOPE = 1024
"""Bytes of the index around its descriptors, at most."""


async def get_referrers(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond with an index of the referrers that can be pulled, an empty one for an unknown subject or repository."""
    subject = Digest.parse(request.reference)
    artifact_type = request.parameter("artifactType")
    snapshot = await registry.passing(request.name, await registry.find_served(request.name))
    listed: frozenset[Digest] = frozenset()
    fallback = snapshot.tags.get(f"{subject.algorithm}-{subject.encoded}"[:128]) if snapshot else None
    if snapshot and fallback:
        listed = await registry.threads.run(_read_fallback, registry.catalog, snapshot, fallback)
    referrers = matching_referrers(snapshot, subject, artifact_type, listed, after=request.parameter("last") or "")
    page, rest = b"", ""
    if snapshot and referrers:
        page, rest = await _page(registry, request, snapshot, referrers)
    headers = [(b"content-type", OCI_INDEX)]
    if artifact_type:
        headers.append((b"oci-filters-applied", "artifactType"))
    if rest:
        selection = {"artifactType": artifact_type} if artifact_type else {}
        headers.append((b"link", next_link(request.path, {**selection, "last": rest})))
    body = b'{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' % (OCI_INDEX.encode(), page)
    return WholeResponse(200, with_headers((b"content-length", str(len(body))), *headers), body)


async def _page(
    registry: Registry, request: RoutedRequest, snapshot: Snapshot, referrers: Sequence[Digest]
) -> tuple[bytes, str]:
    """Return the descriptors of one page, joined, and the last one's digest when more follow, else "".

    Few are made at once; many come from the response cache, or are made on a thread.
    """

    def make() -> tuple[bytes, str]:
        _describe_all(registry, snapshot, referrers)
        page, is_more = _page_of(registry, snapshot, referrers)
        return b",".join(page), referrers[len(page) - 1] if is_more else ""

    if len(referrers) < _FEW and all(_key(snapshot, digest) in registry.described for digest in referrers):
        return make()

    async def make_on_thread() -> tuple[bytes, str]:
        return await registry.threads.make(make)

    key = ("referrers", snapshot.repository, snapshot.version, tuple(referrers))
    cost_key = registry.cost_key(request.caller, request.scope)
    return await registry.responses.get(
        key, None, cost_key, make_on_thread, lambda page: body_size(page[0]) + 80 * len(referrers)
    )


def matching_referrers(
    snapshot: Snapshot | None,
    subject: Digest,
    artifact_type: str | None,
    listed: AbstractSet[Digest] = frozenset(),
    *,
    after: str = "",
) -> Sequence[Digest]:
    """Return the manifests that name the subject, in order of digest, after `after` and of the artifact type.

    `listed` are the manifests of the subject's fallback tag; those that are here are included.
    """
    if snapshot is None:
        return ()
    named = snapshot.referrers.get(subject, ())
    further = (listed & snapshot.manifests.keys()).difference(named)
    return [
        digest
        for digest in (sorted([*named, *further]) if further else named)
        if digest > after and (not artifact_type or snapshot.manifests[digest].artifact_type == artifact_type)
    ]


def _read_fallback(catalog: Catalog, snapshot: Snapshot, tagged: Digest) -> frozenset[Digest]:
    """Return what the index of a fallback tag lists. Source: distribution-spec, "Referrers Tag Schema"."""
    manifest = catalog.manifests.read(tagged, snapshot.manifests[tagged].media_type)
    return frozenset(child.digest for child in manifest.manifests)


def _key(snapshot: Snapshot, digest: Digest) -> tuple[Digest, str]:
    return digest, snapshot.manifests[digest].media_type


def _describe_all(registry: Registry, snapshot: Snapshot, digests: Iterable[Digest]) -> None:
    for digest in digests:
        if _key(snapshot, digest) not in registry.described:
            registry.described.put(_key(snapshot, digest), _encoded(registry, snapshot, digest))


def _page_of(registry: Registry, snapshot: Snapshot, digests: Iterable[Digest]) -> tuple[list[bytes], bool]:
    """Return the descriptors that fit into one index, and whether more follow; reads annotations from manifests."""
    page: list[bytes] = []
    size = _ENVELOPE
    for digest in digests:
        descriptor = registry.described.get(_key(snapshot, digest)) or _encoded(registry, snapshot, digest)
        size += len(descriptor) + 1
        if page and size > MAX_BYTES:
            return page, True
        page.append(descriptor)
    return page, False


def _encoded(registry: Registry, snapshot: Snapshot, digest: Digest) -> bytes:
    return json.dumps(describe(registry.catalog, snapshot, digest), ensure_ascii=False, separators=(",", ":")).encode()


def describe(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> dict[str, object]:
    """Return a referrer's descriptor, with its artifact type and annotations."""
    entry = snapshot.manifests[digest]
    descriptor: dict[str, object] = {"mediaType": entry.media_type, "digest": digest, "size": entry.size}
    if entry.artifact_type:
        descriptor["artifactType"] = entry.artifact_type
    annotations = catalog.manifests.read(digest, entry.media_type).annotations
    if annotations:
        descriptor["annotations"] = dict(annotations)
    return descriptor
