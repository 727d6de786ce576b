"""What a caller may pull of an image and of what is attached to it: by the right to its path, and by the gates of the path.

1. The right is asked before anything is looked up. 2. The version is what the path serves now, without what holds and lifecycles
refuse. 3. Policies are asked about each manifest, and about each blob that is to be read.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from catalog.content.documents import DocumentLayer
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import ManifestUnknown, PullRefused
from oci.reference import parse_content_reference
from registry_api.gates.policy_gate import PATIENCE, GatedContent
from registry_api.management.dependencies import RequestContext


@dataclass(frozen=True, slots=True)
class PulledImage:
    """A manifest at a path that the caller may pull it from. `snapshot` is what the path serves through holds and lifecycles.

    `base` is the version without them.
    """

    base: Snapshot
    content: GatedContent
    digest: Digest

    @property
    def snapshot(self) -> Snapshot:
        """Return the version that is read from."""
        return self.content.snapshot


async def find_pulled_image(context: RequestContext, reference: str) -> PulledImage:
    """Return what a reference names at a path; without tag and digest it means the tag `latest`.

    Raises what a pull is refused with: Unauthorized, Denied, NameUnknown, ManifestUnknown or PullRefused.
    """
    wanted, registry = parse_content_reference(reference), context.registry
    path, text = wanted.repository, str(wanted.digest) if wanted.digest else wanted.tag or "latest"
    await registry.check_pull(context.caller, path, context.address)
    base = await registry.served(path)
    view = await registry.find_view(path, base) if registry.gates.active else None
    if view is not None:
        view.check(text)
    content = registry.gated(path, base if view is None else view.snapshot, view)
    try:
        digest = content.snapshot.resolve(text)
    except ManifestUnknown:  # its message names the repository, which the caller may not know
        raise ManifestUnknown(f"{wanted} is not here") from None
    if wanted.tag and content.snapshot.tags.get(wanted.tag) != digest:
        raise ManifestUnknown(f"{wanted} is not here")
    tag = "" if wanted.digest else text
    if registry.policy_gate.active and await registry.policy_gate.refuses(content, digest, tag, patience=PATIENCE):
        raise PullRefused(f"{wanted} is refused by a policy; a pull says why")
    return PulledImage(base, content, digest)


async def find_refused(
    context: RequestContext, image: PulledImage, layers: Iterable[DocumentLayer]
) -> frozenset[Digest]:
    """Return the manifests and blobs of documents that gates refuse, and images that documents are about.

    What a policy does not decide in time is among them.
    """
    gate, snapshot, places = context.registry.policy_gate, image.snapshot, list(layers)
    about = {place.subject for place in places}
    refused = {one for one in about if one in image.base.manifests and one not in snapshot.manifests}
    if not gate.active:
        return frozenset(refused)
    until = asyncio.get_running_loop().time() + PATIENCE
    for digest in dict.fromkeys(one for place in places for one in (place.subject, place.manifest)):
        left = max(until - asyncio.get_running_loop().time(), 0.0)
        if digest in snapshot.manifests and await gate.refuses(image.content, digest, patience=left):
            refused.add(digest)
    for place in places:
        if refused.isdisjoint((place.subject, place.manifest, place.layer.digest)):
            try:
                await gate.check_blob(image.content, place.layer.digest, is_pull=False)
            except PullRefused:
                refused.add(place.layer.digest)
    return frozenset(refused)
