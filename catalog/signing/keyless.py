"""What signing by an identity changes in a version: sigstore bundles that refer to manifests."""

from collections.abc import Iterable

from catalog.catalog import Catalog
from catalog.signing.stored import stage
from catalog.signing.verification import check_keyless
from catalog.versions.changes import AddManifest, Change
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.memory import MemoryStore
from oci.signing.keyless import KeylessSigner
from oci.signing.sigstore_bundle import COSIGN_SIGN, make_statement, pack_bundle


def plan_keyless(
    catalog: Catalog, latest: Snapshot, digests: Iterable[Digest], signer: KeylessSigner, *, created: str
) -> list[Change]:
    """Sign each manifest by a bundle; what the identity has signed stays. Nothing to sign asks no service for anything."""
    unsigned: list[Digest] = []
    for digest in digests:
        if digest not in latest.manifests:
            raise ManifestUnknown(f"{digest} is not in version {latest.version} of {latest.repository} any more")
        if not check_keyless(catalog, latest, digest, signer.verifier).is_signed:
            unsigned.append(digest)
    if not unsigned:
        return []
    store, changes = MemoryStore(), list[Change]()
    bundles = signer.sign([make_statement(digest, latest.repository, COSIGN_SIGN, {}) for digest in unsigned])
    for digest, bundle in zip(unsigned, bundles, strict=True):
        subject = catalog.manifests.read(digest, latest.manifests[digest].media_type)
        changes.append(AddManifest(pack_bundle(store, bundle, subject, COSIGN_SIGN, created).descriptor))
    stage(catalog, latest.repository, store)
    return changes
