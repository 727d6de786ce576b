"""The list of referrers that whoever pushes has to keep where a registry has no referrers API.

Source: distribution-spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteError, RemoteRefused, RemoteUnauthorized
from oci.manifest import Manifest, parse_manifest
from oci.mediatypes import OCI_INDEX

_TRIES = 5


class TaggedManifests(Protocol):
    """A repository whose tags can be read and set."""

    async def find_manifest(self, reference: str) -> Manifest | None:
        """Return what a tag points to; None for nothing."""
        ...

    async def write_tag(self, tag: str, manifest: Manifest) -> None:
        """Point a tag to a manifest."""
        ...


def fallback_tag(subject: Digest) -> str:
    """Return the tag under which a manifest's referrers are listed."""
    return f"{subject.algorithm}-{subject.encoded}"[:128]


def referrer_entry(manifest: Manifest) -> Descriptor:
    """Return the entry of a referrer in the list: with its artifact type, else its config's media type, and its annotations."""
    artifact_type = manifest.artifact_type or (manifest.config.media_type if manifest.config else "")
    return Descriptor(
        manifest.media_type, manifest.digest, manifest.size, artifact_type, annotations=manifest.annotations
    )


def with_entries(current: Manifest | None, entries: Iterable[Descriptor]) -> Manifest | None:
    """Return the list with further entries; None when it has them already."""
    document: dict[str, Any] = (
        {"schemaVersion": 2, "mediaType": OCI_INDEX} if current is None else json.loads(current.raw)
    )
    listed = {one.digest for one in current.manifests} if current else set()
    new = [one.to_json() for one in entries if one.digest not in listed]
    if not new:
        return None
    document["manifests"] = [*(document.get("manifests") or []), *new]
    return parse_manifest(json.dumps(document, separators=(",", ":")).encode(), OCI_INDEX)


async def list_referrers(
    repository: TaggedManifests, subject: Digest, entries: Sequence[Descriptor], *, where: str
) -> None:
    """Add entries to a subject's list and lose no one else's; `where` names the registry in an error.

    There is no way to change a tag only if it has not moved meanwhile, so it is read again afterwards, and mended. Raises
    RemoteRefused where the tag is something else than such a list.
    """
    tag = fallback_tag(subject)
    for _ in range(_TRIES):
        try:
            current = await repository.find_manifest(tag)
        except RemoteUnauthorized as error:  # some registries respond so where a tag is missing
            if error.status != 403:
                raise
            if (made := with_entries(None, entries)) is not None:
                await repository.write_tag(tag, made)
            return
        if current is not None and not current.is_index:
            raise RemoteRefused(f"tag {tag} is no list of referrers, so none can be added to it", registry=where)
        extended = with_entries(current, entries)
        if extended is None:
            return
        await repository.write_tag(tag, extended)
    raise RemoteError(f"others keep changing tag {tag}; run this again", registry=where)
