"""What signing and attesting change in a version: pure but for the signatures, which are made anew each time."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from catalog.catalog import Catalog
from catalog.documents.sboms import sbom_media_type
from catalog.filters.companions import COMPANION_TAGS
from catalog.filters.selector import Selector
from catalog.filters.tags import TagFilter
from catalog.signing.stored import held_attestations, held_signatures, stage
from catalog.signing.verification import bundles
from catalog.versions.changes import AddManifest, Change, SetTag
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import InvalidInput, ManifestUnknown
from oci.kinds import attestation_tag, signature_tag
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact
from oci.signing.cosign import SignatureForm, pack_attestation, pack_signature, sign_simple
from oci.signing.keys import Signer
from oci.signing.sigstore_bundle import (
    COSIGN_SIGN,
    PAYLOAD,
    Envelope,
    bundle_envelope,
    make_statement,
    pack_bundle,
    sign_envelope,
    sign_statement,
)

_SBOMS = {
    "https://spdx.dev/Document": ("spdxVersion", "application/spdx+json"),
    "https://cyclonedx.org/bom": ("bomFormat", "application/vnd.cyclonedx+json"),
}
"""What an SBOM of a predicate type has, and its media type."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is attached: its bytes, and the URI of what kind of statement it is."""

    data: bytes
    predicate_type: str


def select_manifests(
    snapshot: Snapshot, selector: Selector, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[Digest]:
    """The manifests that a selector names, each once; cosign's own tags are not signed. Raises ManifestUnknown, InvalidInput."""
    if selector.tag or selector.digest:
        digest = selector.digest or snapshot.tags.get(selector.tag)
        if digest is None or digest not in snapshot.manifests:
            raise ManifestUnknown(f"{selector} is not in version {snapshot.version} of {selector.repository}")
        return [digest]
    kept = TagFilter(tuple(include), (*exclude, COMPANION_TAGS)).select(snapshot.sorted_tags).kept
    if not kept:
        raise InvalidInput(f"no tag of {selector.repository} is selected by include and exclude")
    return list(dict.fromkeys(snapshot.tags[tag] for tag in kept))


def with_held_children(catalog: Catalog, snapshot: Snapshot, digests: Iterable[Digest]) -> list[Digest]:
    """The manifests and, of indexes among them, the children that are held."""
    found: dict[Digest, None] = {}
    waiting = list(digests)
    while waiting:
        digest = waiting.pop(0)
        entry = snapshot.manifests.get(digest)
        if entry is None or digest in found:
            continue
        found[digest] = None
        if entry.media_type in mediatypes.INDEXES:
            waiting += [child.digest for child in catalog.manifests.read(digest, entry.media_type).manifests]
    return list(found)


def plan_signing(
    catalog: Catalog,
    latest: Snapshot,
    digests: Iterable[Digest],
    signer: Signer,
    *,
    reference: str,
    created: str,
    form: SignatureForm = "both",
) -> list[Change]:
    """Sign each manifest by a tag of cosign's, a bundle that refers to it, or both; what the key has signed so stays."""
    changes: list[Change] = []
    for digest in digests:
        if digest not in latest.manifests:
            raise ManifestUnknown(f"{digest} is not in version {latest.version} of {latest.repository} any more")
        store = MemoryStore()
        if form != "bundle":
            changes += _tag_signature(catalog, latest, digest, signer, store, reference)
        if form != "tags" and not _has_bundle(catalog, latest, digest, signer, COSIGN_SIGN):
            statement = make_statement(digest, reference, COSIGN_SIGN, {})
            subject = _subject(catalog, latest, digest)
            bundle = pack_bundle(store, sign_statement(statement, signer), subject, COSIGN_SIGN, created)
            changes.append(AddManifest(bundle.descriptor))
        stage(catalog, latest.repository, store)
    return changes


def _tag_signature(
    catalog: Catalog, latest: Snapshot, digest: Digest, signer: Signer, store: MemoryStore, reference: str
) -> list[Change]:
    held, signatures = held_signatures(catalog, latest, digest)
    if any(one.is_for(digest) and one.is_by(signer.verifier) for one in signatures):
        return []
    manifest = pack_signature(store, held, sign_simple(digest, reference, signer))
    return [AddManifest(manifest.descriptor), SetTag(signature_tag(digest), manifest.digest)]


def _has_bundle(catalog: Catalog, latest: Snapshot, digest: Digest, signer: Signer, predicate_type: str) -> bool:
    return any(
        one.is_for(digest) and one.statement().get("predicateType") == predicate_type and one.is_by(signer.verifier)
        for one in bundles(catalog, latest, digest)
    )


def _subject(catalog: Catalog, latest: Snapshot, digest: Digest) -> Manifest:
    return catalog.manifests.read(digest, latest.manifests[digest].media_type)


def read_document(data: bytes, predicate_type: str) -> Document:
    """Check what is to be attached; raise InvalidInput for what is not JSON, or not the kind of SBOM it is said to be."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the document is not JSON: {error}") from None
    wanted, media_type = _SBOMS.get(predicate_type, ("", ""))
    if not isinstance(found, dict) or (wanted and wanted not in found and sbom_media_type(found) != media_type):
        raise InvalidInput(
            f"invalid document: expected {predicate_type} with {wanted}" if wanted else "it is no object"
        )
    return Document(data, predicate_type)


def plan_attestation(
    catalog: Catalog,
    latest: Snapshot,
    digest: Digest,
    document: Document,
    signer: Signer,
    *,
    created: str,
    form: SignatureForm = "bundle",
) -> list[Change]:
    """Attest a document, signed once, by a bundle, a tag of cosign 2's, or both; what the key has attested so stays."""
    store, subject = MemoryStore(), _subject(catalog, latest, digest)
    statement = attested_statement(latest.repository, digest, document)
    held, tagged = held_attestations(catalog, latest, digest)
    needs_bundle = form != "tags" and not _states(bundles(catalog, latest, digest), statement, signer)
    needs_tag = form != "bundle" and not _states(tagged, statement, signer)
    if not (needs_bundle or needs_tag):
        return []
    envelope, changes = sign_envelope(statement, signer), list[Change]()
    if needs_bundle:
        bundle = bundle_envelope(envelope, signer.verifier)
        changes.append(AddManifest(pack_bundle(store, bundle, subject, document.predicate_type, created).descriptor))
    if needs_tag:
        manifest = pack_attestation(store, held, envelope, document.predicate_type)
        changes += [AddManifest(manifest.descriptor), SetTag(attestation_tag(digest), manifest.digest)]
    stage(catalog, latest.repository, store)
    return changes


def _states(envelopes: Iterable[Envelope], statement: bytes, signer: Signer) -> bool:
    """Return whether the key has signed the statement already, in these bytes."""
    return any(
        one.payload == statement and one.payload_type == PAYLOAD and one.is_by(signer.verifier) for one in envelopes
    )


def attested_statement(repository: str, digest: Digest, document: Document) -> bytes:
    """Return the in-toto statement whose predicate is a document."""
    return make_statement(digest, repository, document.predicate_type, json.loads(document.data))


def plan_attachment(catalog: Catalog, latest: Snapshot, digest: Digest, document: Document) -> list[Change]:
    """Attach a document as it is, as an artifact of its own type; one whose bytes are attached already stays."""
    store, subject = MemoryStore(), _subject(catalog, latest, digest)
    kind = sbom_media_type(json.loads(document.data)) or "application/json"
    made = pack_artifact(store, kind, [(kind, document.data)], subject=subject)
    if any(_holds(catalog, latest, one, made.layers[0].digest) for one in latest.referrers.get(digest, ())):
        return []
    stage(catalog, latest.repository, store)
    return [AddManifest(made.descriptor)]


def _holds(catalog: Catalog, latest: Snapshot, referrer: Digest, document: Digest) -> bool:
    """Return whether a referrer is an artifact of one layer, the document."""
    manifest = catalog.manifests.read(referrer, latest.manifests[referrer].media_type)
    return [layer.digest for layer in manifest.layers] == [document]
