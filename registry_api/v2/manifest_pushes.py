"""Pushes of manifests; each makes one version. Source: distribution-spec, "Pushing manifests"."""

from collections.abc import Sequence
from functools import partial

from catalog.versions.changes import AddManifest, Change, SetTag
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.ambiguity import check_children, check_nesting, check_unambiguous
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import ManifestBlobUnknown, ManifestInvalid, ManifestTooLarge, ManifestUnknown
from oci.manifest import MAX_BYTES, Manifest, parse_manifest, required_blobs
from oci.reference import parse_tag
from registry_api.context import Registry
from registry_api.http.bodies import read_whole
from registry_api.http.errors import TooManyTags
from registry_api.http.messages import RoutedRequest, WholeResponse, empty_response, warning_value
from registry_api.v2.commits import commit_changes
from registry_api.v2.manifests import check_digest
from registry_api.v2.quota_warnings import quota_warnings

MAX_TAGS = 10
"""Tags that one push by digest may set. Source: distribution-spec (development head), "Pushing Manifests"."""

_SMALL = 64 * 1024
"""Bytes of a manifest that is read without a thread: in a millisecond or two."""

_TRIES = 5
"""How often storing and committing a manifest is tried, when others delete it meanwhile."""


async def put_manifest(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Store and commit a manifest.

    1. Read the reference, so that a bad one costs no body. 2. Read the body within the limit. 3. Parse it and compare it with
    its Content-Type and digest. 4. Ask the trust policies of pushes. 5. Check that the repository holds its parts. 6. Store the
    bytes and commit.
    """
    by_digest = Digest.parse(request.reference) if ":" in request.reference else None
    tags = _tags_of(request, by_digest)
    raw = await read_whole(
        request.receive, limit=MAX_BYTES, announced=request.content_length, too_large=ManifestTooLarge
    )
    algorithm = by_digest.algorithm if by_digest else "sha256"
    content_type = (request.header(b"content-type") or b"").decode("latin-1")
    if len(raw) <= _SMALL:
        manifest = parse_pushed(raw, content_type, algorithm)
    else:
        manifest = await registry.threads.run(parse_pushed, raw, content_type, algorithm)
    if by_digest:
        check_digest(manifest.digest, by_digest)
    held_back = await _ask_policies(registry, request, manifest, tags) if registry.policy_gate.active else ()
    changes: tuple[Change, ...] = (AddManifest(manifest.descriptor), *(SetTag(tag, manifest.digest) for tag in tags))
    for tries_left in reversed(range(_TRIES)):
        try:
            await commit_changes(registry, request, "push", changes, partial(_store, registry, manifest))
            break
        except ManifestUnknown:  # it was deleted, and its bytes collected, between the two
            if not tries_left:
                raise
    warnings = (*held_back, *quota_warnings(registry, request))
    return _created(request.name, manifest, tags if by_digest else (), warnings)


async def _ask_policies(
    registry: Registry, request: RoutedRequest, manifest: Manifest, tags: Sequence[str]
) -> Sequence[str]:
    """Return the warnings of trust policies; raise PullRefused for what they do not accept."""
    repository = request.repository
    if not registry.policy_gate.about("push", request.name, repository):
        return ()
    find = registry.catalog.snapshots.find
    snapshot = await registry.threads.run(partial(find, repository, is_confirmed=True)) or Snapshot(repository, 0)
    content = registry.gated(request.name, snapshot)
    return await registry.policy_gate.check_push(content, manifest, tags, request.user)


def _tags_of(request: RoutedRequest, by_digest: Digest | None) -> Sequence[str]:
    if by_digest is None:
        return (parse_tag(request.reference),)
    tags = tuple(dict.fromkeys(request.query.get("tag", ())))
    if len(tags) > MAX_TAGS:
        raise TooManyTags(f"{len(tags)} tags in one push; {MAX_TAGS} at most")
    return tuple(parse_tag(tag) for tag in tags)


def parse_pushed(raw: bytes, content_type: str, algorithm: str) -> Manifest:
    """Read a pushed manifest; raise ManifestInvalid, for docker schema 1 too."""
    check_unambiguous(raw)
    manifest = parse_manifest(raw, content_type, algorithm=algorithm)
    if manifest.media_type in mediatypes.SCHEMA1:
        raise ManifestInvalid(
            "docker schema 1 manifests cannot be pushed: their digest is not that of their bytes; "
            "push the image as OCI or docker schema 2"
        )
    return manifest


def _store(registry: Registry, manifest: Manifest, name: str) -> None:
    """Check that the repository holds the manifest's parts, and store its bytes; on a thread."""
    snapshot = registry.catalog.snapshots.find(name, is_confirmed=True) or Snapshot(name, 0)  # as each request is
    missing = [child.digest for child in manifest.manifests if _is_missing_child(snapshot, child)]
    parts = dict.fromkeys(blob.digest for blob in required_blobs(manifest) if blob.digest not in snapshot.blobs)
    usable = registry.catalog.content.renew(name, parts)  # so that their leases outlast the commit
    missing += [digest for digest in parts if digest not in usable]
    if missing and not registry.catalog.settings.is_sparse(name):
        raise ManifestBlobUnknown(
            f"{name} does not hold {len(missing)} part(s) of the manifest: push these first: {', '.join(missing[:5])}",
            detail={"missing": missing},
        )
    may_misstate = registry.catalog.settings.may_misstate(name)
    check_children(manifest, partial(_held_manifest, snapshot), may_misstate=may_misstate)
    if manifest.is_index:
        check_nesting(manifest, partial(_read_held, registry, snapshot))
    if manifest.digest not in snapshot.manifests or registry.catalog.content.size(manifest.digest) is None:
        registry.catalog.content.put(manifest.raw, manifest.digest, name, manifest.media_type)
        registry.catalog.manifests.keep(manifest)


def _held_manifest(snapshot: Snapshot, digest: Digest) -> tuple[str, int] | None:
    entry = snapshot.manifests.get(digest)
    return (entry.media_type, entry.size) if entry else None


def _read_held(registry: Registry, snapshot: Snapshot, digest: Digest, media_type: str) -> Manifest | None:
    return registry.catalog.manifests.read(digest, media_type) if digest in snapshot.manifests else None


def _is_missing_child(snapshot: Snapshot, child: Descriptor) -> bool:
    return child.media_type in mediatypes.MANIFESTS and child.digest not in snapshot.manifests


def _created(name: str, manifest: Manifest, tags: Sequence[str], warnings: Sequence[str]) -> WholeResponse:
    headers: list[tuple[bytes, str]] = [
        (b"location", f"/v2/{name}/manifests/{manifest.digest}"),
        (b"docker-content-digest", manifest.digest),
    ]
    if manifest.subject:
        headers.append((b"oci-subject", manifest.subject.digest))
    headers.extend((b"oci-tag", tag) for tag in tags)
    headers.extend((b"warning", warning_value(text)) for text in warnings)
    return empty_response(201, *headers)
