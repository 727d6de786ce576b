"""What is signed in a version: cosign's signature tags and sigstore bundles that refer to a manifest."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog.catalog import Catalog
from catalog.signing.stored import (
    MAX_PAYLOAD,
    atomic_signatures,
    held_attestations,
    held_signatures,
    read_manifest,
)
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import EntrepotError, ManifestInvalid
from oci.signing.keys import Verifier
from oci.signing.pgp_keys import PgpVerifier
from oci.signing.sigstore_bundle import BUNDLE, COSIGN_SIGN, Envelope, is_about, read_bundle

if TYPE_CHECKING:
    from oci.signing.keyless import KeylessVerifier  # a second to import


class SignatureMissing(EntrepotError):
    """Content that should be signed by a key is not."""

    code = "DENIED"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found about one manifest: how many signatures of each form there are, and how many of them the key made.

    An attestation says something about the manifest and does not count as its signature; `predicate_types` has those of the key.
    Atomic signatures are looked at for OpenPGP keys only; `references` are what they vouch for.
    """

    digest: Digest
    tagged: int
    tagged_good: int
    bundled: int
    bundled_good: int
    predicate_types: tuple[str, ...] = ()
    atomic: int = 0
    atomic_good: int = 0
    references: tuple[str, ...] = ()

    @property
    def is_signed(self) -> bool:
        """Return whether the key has signed the manifest in any form."""
        return bool(self.tagged_good or self.bundled_good or self.atomic_good)


def raw_bundles(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> Iterator[bytes]:
    """The sigstore bundles that refer to a manifest."""
    for found in snapshot.referrers.get(digest, ()):
        for layer in read_manifest(catalog, snapshot, found).layers:
            if layer.media_type == BUNDLE and layer.size <= MAX_PAYLOAD:
                yield catalog.rights.read(snapshot, layer.digest)


def bundles(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> Iterator[Envelope]:
    """The signed statements that refer to a manifest; a bundle without one is left out."""
    for raw in raw_bundles(catalog, snapshot, digest):
        try:
            yield read_bundle(raw)
        except ManifestInvalid:
            continue


def check_keyless(catalog: Catalog, snapshot: Snapshot, digest: Digest, verifier: "KeylessVerifier") -> Checked:
    """Verify the bundles of a manifest by an identity."""
    held = list(raw_bundles(catalog, snapshot, digest))
    statements = [found for one in held if (found := verifier.statement_of(one)) is not None]
    types = tuple(str(one.get("predicateType", "")) for one in statements if is_about(one, digest))
    return Checked(digest, 0, 0, len(held), types.count(COSIGN_SIGN), types)


def check_atomic(catalog: Catalog, snapshot: Snapshot, digest: Digest, verifier: PgpVerifier) -> Checked:
    """Verify the Atomic signatures of a manifest by OpenPGP keys."""
    held = atomic_signatures(catalog, snapshot, digest)
    references = [verifier.reference_of(one, digest) for one in held]
    good = tuple(sorted({one for one in references if one is not None}))
    return Checked(
        digest, 0, 0, 0, 0, atomic=len(held), atomic_good=len(references) - references.count(None), references=good
    )


def check_signatures(catalog: Catalog, snapshot: Snapshot, digest: Digest, verifier: Verifier) -> Checked:
    """Verify all signatures of a manifest by one key: the signature over the payload, and that the payload is about it."""
    _, tagged = held_signatures(catalog, snapshot, digest)
    _, attested = held_attestations(catalog, snapshot, digest)
    bundled = list(bundles(catalog, snapshot, digest))
    types, types_attested = _predicate_types(bundled, digest, verifier), _predicate_types(attested, digest, verifier)
    return Checked(
        digest,
        len(tagged),
        sum(one.is_for(digest) and one.is_by(verifier) for one in tagged),
        len(bundled),
        types.count(COSIGN_SIGN),
        types + types_attested,
    )


def _predicate_types(envelopes: Iterable[Envelope], digest: Digest, verifier: Verifier) -> tuple[str, ...]:
    """The types of what a key has stated about a manifest."""
    good = [one.statement() for one in envelopes if one.is_for(digest) and one.is_by(verifier)]
    return tuple(str(statement.get("predicateType", "")) for statement in good)
