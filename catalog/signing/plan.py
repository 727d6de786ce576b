"""What signing and attesting change in a version: pure but for the signatures, which are made anew each time."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from catalog.catalog import Catalog
from catalog.filters.companions import COMPANION_TAGS
from catalog.filters.selector import Selector
from catalog.filters.tags import TagFilter
from catalog.signing.stored import stage
from catalog.signing.verification import bundles, tagged_signatures
from catalog.versions.changes import AddManifest, Change, SetTag
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import InvalidInput, ManifestUnknown
from oci.kinds import signature_tag
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact
from oci.signing.cosign import pack_signatures, sign_simple
from oci.signing.keys import Signer
from oci.signing.sigstore_bundle import COSIGN_SIGN, make_statement, pack_bundle, sign_statement

_SBOM_TYPES = {"spdxVersion": "application/spdx+json", "bomFormat": "application/vnd.cyclonedx+json"}


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
    catalog: Catalog, latest: Snapshot, digests: Iterable[Digest], signer: Signer, *, reference: str, created: str
) -> list[Change]:
    """Sign each manifest in both forms, a tag of cosign's and a bundle that refers to it; what the key has signed stays."""
    changes: list[Change] = []
    for digest in digests:
        if digest not in latest.manifests:
            raise ManifestUnknown(f"{digest} is not in version {latest.version} of {latest.repository} any more")
        store = MemoryStore()
        held = tagged_signatures(catalog, latest, digest)
        if not any(one.is_for(digest) and one.is_by(signer.verifier) for one in held):
            manifest = pack_signatures(store, [*held, sign_simple(digest, reference, signer)])
            changes += [AddManifest(manifest.descriptor), SetTag(signature_tag(digest), manifest.digest)]
        if not _has_bundle(catalog, latest, digest, signer, COSIGN_SIGN):
            statement = make_statement(digest, reference, COSIGN_SIGN, {})
            subject = _subject(catalog, latest, digest)
            bundle = pack_bundle(store, sign_statement(statement, signer), subject, COSIGN_SIGN, created)
            changes.append(AddManifest(bundle.descriptor))
        stage(catalog, latest.repository, store)
    return changes


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
    wanted = {"https://spdx.dev/Document": "spdxVersion", "https://cyclonedx.org/bom": "bomFormat"}.get(predicate_type)
    if not isinstance(found, dict) or (wanted and wanted not in found):
        raise InvalidInput(
            f"invalid document: expected {predicate_type} with {wanted}" if wanted else "it is no object"
        )
    return Document(data, predicate_type)


def plan_attestation(
    catalog: Catalog, latest: Snapshot, digest: Digest, document: Document, signer: Signer | None, *, created: str
) -> list[Change]:
    """Attach a document: signed as an in-toto attestation in a bundle, unsigned as an artifact of its own type."""
    store, subject = MemoryStore(), _subject(catalog, latest, digest)
    if signer:
        predicate = json.loads(document.data)
        statement = make_statement(digest, latest.repository, document.predicate_type, predicate)
        made = pack_bundle(store, sign_statement(statement, signer), subject, document.predicate_type, created)
    else:
        keys = json.loads(document.data).keys()
        kind = next((kind for key, kind in _SBOM_TYPES.items() if key in keys), "application/json")
        made = pack_artifact(store, kind, [(kind, document.data)], subject=subject)
    stage(catalog, latest.repository, store)
    return [AddManifest(made.descriptor)]
