"""What leads from the latest version to a wanted content, as a new version: an old version's, or a chosen one."""

from catalog.versions.changes import AddManifest, Change, RemoveManifest, RemoveTag, SetTag
from catalog.versions.snapshot import Snapshot
from oci.descriptor import Descriptor


def plan_towards(latest: Snapshot, wanted: Snapshot, *, additive: bool = False) -> tuple[Change, ...]:
    """The changes that give `latest` the tags and manifests of `wanted`; none when it has them already.

    Additive: what `wanted` lacks stays. Commit them with `allow_sparse`: what an old version lacked is lacking again.
    """
    added = [
        AddManifest(Descriptor(entry.media_type, digest, entry.size))
        for digest, entry in wanted.manifests.items()
        if digest not in latest.manifests
    ]
    tagged = [SetTag(tag, digest) for tag, digest in wanted.tags.items() if latest.tags.get(tag) != digest]
    if additive:
        return (*added, *tagged)
    removed = [RemoveManifest(digest) for digest in latest.manifests if digest not in wanted.manifests]
    untagged = [RemoveTag(tag) for tag in latest.tags if tag not in wanted.tags]
    return (*added, *removed, *untagged, *tagged)
