"""The blobs that manifests need: which of them the repository has received, which are left upstream, which it lacks."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from catalog.blobs.origins import MAX_CLAIM, Deferred, Origin
from catalog.versions.snapshot import Snapshot, merged_claims
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import ManifestInvalid
from oci.manifest import Manifest, required_blobs


@dataclass(frozen=True, slots=True)
class Offer:
    """What repositories here have of a blob: its size, which is what manifests claim unless one of them has received it; where
    they can fetch it again, if it came on demand."""

    size: int
    is_received: bool
    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldBlob:
    """A blob that is held; whether a version's repository may use it."""

    size: int
    is_usable: bool


@dataclass(slots=True)
class NeededBlobs:
    """`needed`: all that the version is to hold, with sizes; `deferred`: what of it is left upstream; `leased`: what of that
    other repositories here have received; `absent`: what the version has to do without."""

    base: Snapshot
    needed: dict[Digest, int] = field(default_factory=dict)
    deferred: list[Deferred] = field(default_factory=list)
    leased: list[Digest] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    claims: Mapping[Digest, int] = field(default_factory=dict)
    _made: set[Deferred] = field(default_factory=set)

    def take(self, manifest: Manifest, blob: Descriptor, size: int) -> None:
        """Count a blob that the repository has received; raise ManifestInvalid where the manifest misstates its size."""
        if contradicts(blob.size, size):
            raise ManifestInvalid(f"{manifest.digest} says {blob.digest} has {blob.size} bytes; it has {size}")
        self.needed[blob.digest] = size

    def defer(self, manifest: Manifest, blob: Descriptor, size: int, origins: Iterable[Origin]) -> None:
        """Count a blob that is left upstream; its size is what this manifest claims, and others may claim another."""
        digest = blob.digest
        if not 0 <= size <= MAX_CLAIM:
            raise ManifestInvalid(f"{manifest.digest} claims {size} bytes for {digest}; {MAX_CLAIM} at most")
        self.needed.setdefault(digest, self.base.blobs.get(digest, size))
        is_known = digest in self.base.blobs and self.base.deferred.get(digest) == size
        made = [] if is_known else [Deferred(digest, size, origin) for origin in origins]
        if made:
            self.claims = merged_claims(self.claims, {digest: size})
            self.deferred += [one for one in made if one not in self._made]
            self._made.update(made)


def find_needed(
    base: Snapshot,
    manifests: Iterable[Manifest],
    *,
    origin_of: Callable[[Digest], Origin | None],
    held: Mapping[Digest, HeldBlob],
    offered: Callable[[Collection[str], Collection[Digest]], Mapping[Digest, Offer]],
    donors: Collection[str],
) -> NeededBlobs:
    """Look for what manifests are made of: in the repository, then at a manifest's origin (its layers), then at the donors.

    `held` has what is held of `questionable`. That others hold a blob counts for nothing.
    """
    found = NeededBlobs(base)
    waiting: list[tuple[Manifest, Descriptor]] = []
    for manifest in manifests:
        origin = origin_of(manifest.digest)
        layers = {layer.digest for layer in manifest.layers if layer.size != UNKNOWN_SIZE} if origin else ()
        for blob in required_blobs(manifest):
            size = _received_size(base, blob.digest, held)
            if size is not None:
                found.take(manifest, blob, size)
            elif origin and blob.digest in layers:
                found.defer(manifest, blob, blob.size, [origin])
            else:
                waiting.append((manifest, blob))
    if waiting:
        _ask_donors(found, waiting, offered, donors)
    return found


def contradicts(claimed: int, size: int) -> bool:
    """Return whether a manifest states another size than a blob has."""
    return claimed not in (UNKNOWN_SIZE, size)


def questionable(base: Snapshot, manifests: Iterable[Manifest]) -> set[Digest]:
    """Return the blobs of manifests of which the version does not say that its repository has received them."""
    return {
        blob.digest
        for manifest in manifests
        for blob in required_blobs(manifest)
        if blob.digest not in base.blobs or blob.digest in base.deferred
    }


def _received_size(base: Snapshot, digest: Digest, held: Mapping[Digest, HeldBlob]) -> int | None:
    """Bytes of a blob that the repository has received."""
    if digest in base.blobs and digest not in base.deferred:
        return base.blobs[digest]
    found = held.get(digest)
    return found.size if found and found.is_usable else None


def _ask_donors(
    found: NeededBlobs,
    waiting: Iterable[tuple[Manifest, Descriptor]],
    offered: Callable[[Collection[str], Collection[Digest]], Mapping[Digest, Offer]],
    donors: Collection[str],
) -> None:
    base, digests = found.base, {blob.digest for _, blob in waiting}
    if not digests.isdisjoint(base.deferred):  # its own manifests name them, so that it has sources for them
        donors = {*donors, base.repository}
    offers = offered(donors, digests) if donors else {}
    for manifest, blob in waiting:
        offer = offers.get(blob.digest)
        if offer is None:
            found.absent.append(blob.digest)
        elif offer.is_received:
            found.take(manifest, blob, offer.size)
            if offer.origins and blob.digest not in found.claims:
                found.claims = merged_claims(found.claims, {blob.digest: offer.size})
                found.deferred += [Deferred(blob.digest, offer.size, origin) for origin in offer.origins]
                found.leased.append(blob.digest)
        else:
            found.defer(manifest, blob, offer.size if blob.size == UNKNOWN_SIZE else blob.size, offer.origins)
