"""What signing and attesting by an identity change in a version: sigstore bundles that refer to manifests."""

import json
from collections.abc import Iterable

from catalog.catalog import Catalog
from catalog.signing.plan import Document, attested_statement
from catalog.signing.stored import stage
from catalog.signing.verification import check_keyless, raw_bundles
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


def plan_keyless_attestation(
    catalog: Catalog, latest: Snapshot, digest: Digest, document: Document, signer: KeylessSigner, *, created: str
) -> list[Change]:
    """Attest a document by a bundle; what the identity has attested stays, and asks no service for anything."""
    statement = attested_statement(latest.repository, digest, document)
    wanted = json.loads(statement)
    if any(signer.verifier.statement_of(one) == wanted for one in raw_bundles(catalog, latest, digest)):
        return []
    store, subject = MemoryStore(), catalog.manifests.read(digest, latest.manifests[digest].media_type)
    (bundle,) = signer.sign([statement])
    made = pack_bundle(store, bundle, subject, document.predicate_type, created)
    stage(catalog, latest.repository, store)
    return [AddManifest(made.descriptor)]
