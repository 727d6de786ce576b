"""Restoring: what leads from the latest version back to the content of another, as a new version."""

from catalog.changes import AddManifest, Change, RemoveManifest, RemoveTag, SetTag
from catalog.snapshot import Snapshot
from oci.descriptor import Descriptor


def plan_restore(latest: Snapshot, wanted: Snapshot) -> tuple[Change, ...]:
    """The changes that give `latest` the tags and manifests of `wanted`; none when it has them already.

    Commit them with `allow_sparse`: what an old version lacked is lacking again.
    """
    added = [
        AddManifest(Descriptor(entry.media_type, digest, entry.size))
        for digest, entry in wanted.manifests.items()
        if digest not in latest.manifests
    ]
    removed = [RemoveManifest(digest) for digest in latest.manifests if digest not in wanted.manifests]
    untagged = [RemoveTag(tag) for tag in latest.tags if tag not in wanted.tags]
    tagged = [SetTag(tag, digest) for tag, digest in wanted.tags.items() if latest.tags.get(tag) != digest]
    return (*added, *removed, *untagged, *tagged)
