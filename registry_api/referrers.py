"""What refers to a manifest. Source: distribution-spec, "Listing Referrers"."""

import json
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from catalog.catalog import Catalog
from catalog.snapshot import Snapshot
from oci.digest import Digest
from oci.manifest import MAX_BYTES
from oci.mediatypes import OCI_INDEX
from registry_api.messages import Answer, Request, with_headers
from registry_api.paging import next_link
from registry_api.registry import Registry

_ENVELOPE = 1024
"""Bytes of the index around its descriptors, generously."""


async def get_referrers(registry: Registry, request: Request) -> Answer:
    """Answer with an index of the referrers, an empty one for a subject or repository that nobody knows."""
    subject = Digest.parse(request.reference)
    artifact_type = request.parameter("artifactType")
    snapshot = await registry.find_served(request.name)
    listed: frozenset[Digest] = frozenset()
    fallback = snapshot.tags.get(f"{subject.algorithm}-{subject.encoded}"[:128]) if snapshot else None
    if snapshot and fallback:
        listed = await registry.threads.run(_read_fallback, registry.catalog, snapshot, fallback)
    found = select_referrers(snapshot, subject, artifact_type, listed, after=request.parameter("last") or "")
    page: list[bytes] = []
    rest = False
    if snapshot and found:
        if any(_key(snapshot, digest) not in registry.described for digest in found):
            await registry.threads.run(_describe_all, registry, snapshot, found)
        page, rest = _page_of(registry, snapshot, found)
    headers = [(b"content-type", OCI_INDEX)]
    if artifact_type:
        headers.append((b"oci-filters-applied", "artifactType"))
    if rest:
        kept = {"artifactType": artifact_type} if artifact_type else {}
        headers.append((b"link", next_link(request.path, {**kept, "last": found[len(page) - 1]})))
    body = b'{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' % (OCI_INDEX.encode(), b",".join(page))
    return Answer(200, with_headers((b"content-length", str(len(body))), *headers), body)


def select_referrers(
    snapshot: Snapshot | None,
    subject: Digest,
    artifact_type: str | None,
    listed: AbstractSet[Digest] = frozenset(),
    *,
    after: str = "",
) -> Sequence[Digest]:
    """The manifests that name the subject, in order of digest, those up to `after` and of another type left out.

    `listed` are those that the subject's fallback tag names; those of them that are here belong to the list too.
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
    """What an index under a fallback tag lists. Source: distribution-spec, "Referrers Tag Schema"."""
    manifest = catalog.read_manifest(tagged, snapshot.manifests[tagged].media_type)
    return frozenset(child.digest for child in manifest.manifests)


def _key(snapshot: Snapshot, digest: Digest) -> tuple[Digest, str]:
    return digest, snapshot.manifests[digest].media_type


def _describe_all(registry: Registry, snapshot: Snapshot, digests: Iterable[Digest]) -> None:
    for digest in digests:
        if _key(snapshot, digest) not in registry.described:
            registry.described.keep(_key(snapshot, digest), _encoded(registry, snapshot, digest))


def _page_of(registry: Registry, snapshot: Snapshot, digests: Iterable[Digest]) -> tuple[list[bytes], bool]:
    """The descriptors that fit into one index, and whether some are left; annotations come from the manifests' bytes."""
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
    """A referrer's descriptor, with its artifact type and annotations."""
    entry = snapshot.manifests[digest]
    descriptor: dict[str, object] = {"mediaType": entry.media_type, "digest": digest, "size": entry.size}
    if entry.artifact_type:
        descriptor["artifactType"] = entry.artifact_type
    annotations = catalog.read_manifest(digest, entry.media_type).annotations
    if annotations:
        descriptor["annotations"] = dict(annotations)
    return descriptor
