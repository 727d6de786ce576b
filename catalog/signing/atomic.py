"""What signing with an OpenPGP key changes in a version: Atomic signatures that refer to manifests."""

from collections.abc import Iterable, Mapping
from uuid import uuid4

from catalog.catalog import Catalog
from catalog.filters.companions import COMPANION_TAGS
from catalog.filters.tags import parse_tag_pattern
from catalog.signing.stored import atomic_signatures, stage
from catalog.versions.changes import AddManifest, Change
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.memory import MemoryStore
from oci.signing.atomic import pack_atomic
from oci.signing.pgp_keys import AtomicSigner


def reaching_tags(snapshot: Snapshot, children: Mapping[Digest, Iterable[Digest]]) -> dict[Digest, list[str]]:
    """The tags, in ASCII order, by which each manifest is reached: those that point to it, and those of indexes that it is in.

    Tags that hold companions of an image reach what they point to alone: a list of referrers is no index of platforms.
    """
    is_companion = parse_tag_pattern(COMPANION_TAGS)
    found: dict[Digest, list[str]] = {}
    for tag in snapshot.sorted_tags:
        seen: set[Digest] = set()
        waiting = [snapshot.tags[tag]]
        while waiting:
            digest = waiting.pop()
            if digest not in seen and digest in snapshot.manifests:
                seen.add(digest)
                found.setdefault(digest, []).append(tag)
                waiting += () if is_companion(tag) else children.get(digest, ())
    return found


def plan_atomic(
    catalog: Catalog,
    latest: Snapshot,
    digests: Iterable[Digest],
    signer: AtomicSigner,
    *,
    identity: str,
    timestamp: int,
) -> list[Change]:
    """Sign each manifest by each name that clients have for it: the tags that it is reached by, or its digest when there is none.

    Policies compare that name with what is pulled: who pulls an index by its tag is given a child, by that tag. What the key has
    signed by a name already stays.
    """
    names = {
        digest: [f"{identity}:{tag}" for tag in tags]
        for digest, tags in reaching_tags(latest, catalog.history.children(latest.repository)).items()
    }
    changes: list[Change] = []
    for digest in digests:
        if digest not in latest.manifests:
            raise ManifestUnknown(f"{digest} is not in version {latest.version} of {latest.repository} any more")
        held = atomic_signatures(catalog, latest, digest)
        signed = {signer.verifier.reference_of(one, digest) for one in held}
        subject = catalog.manifests.read(digest, latest.manifests[digest].media_type)
        store = MemoryStore()
        for reference in names.get(digest, [f"{identity}@{digest}"]):
            if reference not in signed:
                signature = signer.sign(digest, reference, name=uuid4().hex, timestamp=timestamp)
                changes.append(AddManifest(pack_atomic(store, signature, subject).descriptor))
        stage(catalog, latest.repository, store)
    return changes
