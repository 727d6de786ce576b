"""What signing with an OpenPGP key changes in a version: Atomic signatures that refer to manifests."""

from collections.abc import Iterable
from uuid import uuid4

from catalog.catalog import Catalog
from catalog.changes import AddManifest, Change
from catalog.signatures import atomic_signatures, stage
from catalog.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.memory import MemoryStore
from oci.signing.atomic import pack_atomic
from oci.signing.pgp import PgpSigner


def plan_atomic(
    catalog: Catalog, latest: Snapshot, digests: Iterable[Digest], signer: PgpSigner, *, identity: str, timestamp: int
) -> list[Change]:
    """Sign each manifest by each name that clients have for it: its tags, or its digest when it has none.

    Policies compare that name with what is pulled. What the key has signed by a name already stays.
    """
    names: dict[Digest, list[str]] = {}
    for tag in latest.sorted_tags:
        names.setdefault(latest.tags[tag], []).append(f"{identity}:{tag}")
    changes: list[Change] = []
    for digest in digests:
        if digest not in latest.manifests:
            raise ManifestUnknown(f"{digest} is not in version {latest.version} of {latest.repository} any more")
        held = atomic_signatures(catalog, latest, digest)
        signed = {signer.verifier.reference_of(one, digest) for one in held}
        subject = catalog.read_manifest(digest, latest.manifests[digest].media_type)
        store = MemoryStore()
        for reference in names.get(digest, [f"{identity}@{digest}"]):
            if reference not in signed:
                signature = signer.sign(digest, reference, name=uuid4().hex, timestamp=timestamp)
                changes.append(AddManifest(pack_atomic(store, signature, subject).descriptor))
        stage(catalog, latest.repository, store)
    return changes
