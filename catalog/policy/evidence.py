"""Evidence: signatures and attestations beside a manifest, read into values and not yet checked.

Source: cosign SIGNATURE_SPEC and ATTESTATION_SPEC (tags `.sig` and `.att`), BUNDLE_SPEC (referrers with a sigstore bundle);
containers/image, docs/atomic-signature.md; distribution-spec 1.1, "Listing Referrers".
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError
from oci.kinds import ATOMIC_SIGNATURE, COSIGN_LAYER, ENVELOPE_LAYER, SIGSTORE_BUNDLE, attestation_tag, signature_tag
from oci.manifest import Manifest

EvidenceForm = Literal["cosign", "attestation", "bundle", "atomic", "unreadable"]
MAX_ITEMS = 256
"""Signatures and attestations of one manifest that are checked, the likely ones first. Where none of these satisfies a policy
and there are more, the manifest is undecidable, so refused."""

MAX_READ = 1024
"""Signatures and attestations of one manifest that are read to find these; and of all indexes that list it, together."""

MAX_ITEM = 16 * 1024 * 1024
MAX_TOTAL = 64 * 1024 * 1024
"""Bytes of one item, and of all of one manifest, or of all indexes that list it."""

_T = TypeVar("_T")


class EvidenceSource(Protocol):
    """What evidence is read from: a version, or content that is still to be committed."""

    repository: str

    def tag(self, name: str) -> Digest | None:
        """Return what a tag points to."""

    def referrers(self, digest: Digest) -> tuple[Digest, ...]:
        """Return the manifests that name a manifest as their subject."""

    def manifest(self, digest: Digest) -> Manifest:
        """Return a manifest; raise EntrepotError."""

    def blob(self, digest: Digest) -> bytes:
        """Return a small blob whose bytes are those of its digest; raise EntrepotError."""

    def parents(self, digest: Digest) -> tuple[Digest, ...]:
        """Return the indexes that list a manifest."""


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """One signature or attestation: `content` as stored; `origin` is the manifest that holds it.

    `problem` says why it could not be read, for the form `unreadable`.
    """

    form: EvidenceForm
    origin: str
    content: bytes = field(default=b"", repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def digest(self) -> str:
        """Return a digest of all that a verdict depends on."""
        hasher = hashlib.sha256(json.dumps([self.form, sorted(self.annotations.items()), self.problem]).encode())
        hasher.update(self.content)
        return f"sha256:{hasher.hexdigest()}"


IsLikely = Callable[[EvidenceItem], bool]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What lies beside one manifest. `children` are what it lists, where it is an index."""

    digest: Digest
    items: tuple[EvidenceItem, ...] = ()
    children: frozenset[str] = frozenset()
    parents: "tuple[Evidence, ...]" = ()

    @property
    def fingerprint(self) -> str:
        """Return a digest of the evidence: with the same policy at the same time, the same one means the same decision."""
        parts = [self.digest, *sorted(one.digest for one in self.items)]
        parts += sorted(f"{one.fingerprint} {self.digest in one.children}" for one in self.parents)
        return f"sha256:{hashlib.sha256(' '.join(parts).encode()).hexdigest()}"


def read_evidence(
    source: EvidenceSource,
    digest: Digest,
    *,
    with_parents: bool = True,
    is_likely: IsLikely | None = None,
    known: Callable[[Digest], Collection[str]] = lambda _: (),
) -> Evidence:
    """Read what lies beside a manifest, and beside the indexes that list it; one item that fails spoils no other.

    Where there is more than is checked: `known` are manifests whose signatures of a manifest counted before; they come
    first, and then those of which `is_likely` says so, without any cryptography.
    """
    items = _bounded(digest, _all_items(source, digest, known(digest)), _Budget(), is_likely)
    if not with_parents:
        return Evidence(digest, items, _children(source, digest))
    budget, parents = _Budget(), []
    for parent in sorted(source.parents(digest), key=lambda one: not known(one))[:MAX_ITEMS]:
        found = _bounded(parent, _all_items(source, parent, known(parent)), budget, is_likely)
        parents.append(Evidence(parent, found, _children(source, parent)))
    return Evidence(digest, items, frozenset(), tuple(parents))


def _children(source: EvidenceSource, digest: Digest) -> frozenset[str]:
    try:
        return frozenset(str(one.digest) for one in source.manifest(digest).manifests)
    except EntrepotError:
        return frozenset()


@dataclass
class _Budget:
    """What may still be read."""

    items: int = MAX_READ
    size: int = field(default_factory=lambda: MAX_TOTAL)

    @property
    def is_left(self) -> bool:
        """Return whether one more item may be read."""
        return self.items > 0 and self.size > 0

    def spend(self, item: EvidenceItem) -> None:
        """Count an item that was read."""
        self.items, self.size = self.items - 1, self.size - len(item.content)


def _bounded(
    about: Digest, found: Iterator[EvidenceItem], budget: _Budget, is_likely: IsLikely | None
) -> tuple[EvidenceItem, ...]:
    kept: dict[str, EvidenceItem] = {}
    one = None
    while budget.is_left and (one := next(found, None)) is not None:
        budget.spend(one)
        kept.setdefault(one.digest, one)
    items = list(kept.values())
    if len(items) > MAX_ITEMS and is_likely is not None:
        items.sort(key=is_likely, reverse=True)
    if budget.is_left and len(items) <= MAX_ITEMS:
        return tuple(items)
    told = (
        f"more than {MAX_ITEMS} signatures or {MAX_TOTAL} bytes lie beside the manifest; the rest is not checked: "
        "sign again, since the newest come first"
    )
    return (*items[:MAX_ITEMS], EvidenceItem("unreadable", about, problem=told))


def _all_items(source: EvidenceSource, digest: Digest, known: Collection[str]) -> Iterator[EvidenceItem]:
    """Yield the items of known manifests, then alternately those of both tags and of the referrers.

    So many items of one place do not keep those of another from being read.
    """
    names = (signature_tag(digest), attestation_tag(digest))
    tagged = [found for name in names if (found := source.tag(name)) is not None]
    referrers = source.referrers(digest)
    for origin in (*tagged, *referrers):
        if origin in known:
            yield from _items_of(source, origin)
    places = [_items_of(source, origin) for origin in tagged]
    places.append(item for origin in referrers for item in _items_of(source, origin))
    while places:
        for place in tuple(places):
            item = next(place, None)
            if item is None:
                places.remove(place)
            else:
                yield item


def from_both_ends(items: Sequence[_T]) -> list[_T]:
    """Return the last, the first, the last but one and so on: adding many before or after hides neither end."""
    backwards = list(reversed(items))
    return [one for pair in zip(backwards, items, strict=True) for one in pair][: len(items)]


def _items_of(source: EvidenceSource, origin: Digest) -> Iterator[EvidenceItem]:
    try:
        manifest = source.manifest(origin)
    except EntrepotError as error:
        yield EvidenceItem("unreadable", origin, problem=f"manifest {origin} cannot be read: {error.message}")
        return
    if manifest.media_type in mediatypes.INDEXES:
        return
    layers = manifest.layers if len(manifest.layers) <= MAX_ITEMS else from_both_ends(manifest.layers)
    for layer in layers:
        form = _form_of(layer)
        if form is None:
            continue
        if layer.size > MAX_ITEM:
            yield EvidenceItem(
                "unreadable", origin, problem=f"{layer.digest} has {layer.size} bytes: expected at most {MAX_ITEM}"
            )
            continue
        try:
            content = source.blob(layer.digest)
        except EntrepotError as error:
            yield EvidenceItem("unreadable", origin, problem=f"{layer.digest} cannot be read: {error.message}")
            continue
        yield EvidenceItem(form, origin, content, dict(layer.annotations) if form == "cosign" else {})


def _form_of(layer: Descriptor) -> EvidenceForm | None:
    if layer.media_type == COSIGN_LAYER:
        return "cosign"
    if layer.media_type == ENVELOPE_LAYER:
        return "attestation"
    if layer.media_type == ATOMIC_SIGNATURE:
        return "atomic"
    return "bundle" if layer.media_type.startswith(SIGSTORE_BUNDLE) else None
