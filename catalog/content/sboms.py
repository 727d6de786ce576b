"""The SBOMs of an image: listed, read, compared and taken out of what they are wrapped in, by the right of a version.

An SBOM is found as a document is (catalog/content/documents.py). What it says, and who has signed it, are claims.
"""

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cmp_to_key
from itertools import islice

from catalog.catalog import Catalog
from catalog.content.documents import DocumentLayer, ReadLimit, layers_of_documents
from catalog.documents.packages import diff_packages
from catalog.documents.purls import ListedPackage
from catalog.documents.reading import load_json, unwrap
from catalog.documents.sboms import Sbom, find_sbom, read_sbom
from catalog.documents.version_order import compare_versions
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import EntrepotError, InvalidInput, ManifestUnknown
from oci.kinds import kind_of
from oci.signing.claimed_signers import signer_of_bundle
from oci.unicode import clean_text

LARGEST_SBOM = 64 * 1024 * 1024
"""Bytes of the largest SBOM that is read."""

MOST_LAYERS = 1000
"""Layers beside one image that are looked at."""

MOST_SHOWN = 100_000
"""Packages of one image that are shown."""

LIMIT_OF_COMMANDS = ReadLimit(MOST_LAYERS, LARGEST_SBOM, 10**18)
"""What is read where nobody else waits for it."""

_KINDS = frozenset({"sbom", "attestation"})
_LONGEST_SIGNER = 300


@dataclass(frozen=True, slots=True)
class AttachedSbom:
    """An SBOM about an image: `sbom` is the manifest that has it, `document` its layer.

    `signer` is who an attestation claims to be signed by, not verified; empty where it is not signed. `state` is read, absent (no
    bytes here), too-large, or invalid.
    """

    image: Digest
    sbom: Digest
    document: Digest
    artifact_type: str
    size: int
    state: str
    format: str = ""
    packages: int = 0
    signer: str = ""


@dataclass(frozen=True, slots=True)
class ImagePackages:
    """What the SBOMs of an image list, each package once; `is_cut`: a limit has kept some out."""

    sboms: tuple[AttachedSbom, ...]
    packages: tuple[ListedPackage, ...]
    is_cut: bool


def find_layers(catalog: Catalog, snapshot: Snapshot, digest: Digest, most: int) -> list[DocumentLayer]:
    """Return the layers that may hold an SBOM about a manifest; one more than `most` where there are more.

    Raises ManifestUnknown.
    """
    if digest not in snapshot.manifests:
        raise ManifestUnknown(f"{digest} is not in version {snapshot.version} of {snapshot.repository}")
    return list(islice(_places(catalog, snapshot, digest, most), most + 1))


def list_sboms(
    catalog: Catalog,
    snapshot: Snapshot,
    digest: Digest,
    *,
    limit: ReadLimit = LIMIT_OF_COMMANDS,
    refused: Container[Digest] = (),
) -> list[AttachedSbom]:
    """Return the SBOMs about a manifest and its children, or the SBOM that the manifest is; raise ManifestUnknown.

    What is `refused`, a manifest or a blob, is not read and not told of.
    """
    places = find_layers(catalog, snapshot, digest, limit.layers)
    return [found for found, _ in _sboms(catalog, snapshot, places, limit, refused)]


def read_image_packages(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> ImagePackages:
    """Return what all SBOMs of an image list; raise ManifestUnknown where none of them is here."""
    found = list_packages(catalog, snapshot, digest)
    _check_read(found.sboms, digest)
    return found


def list_packages(
    catalog: Catalog,
    snapshot: Snapshot,
    digest: Digest,
    *,
    limit: ReadLimit = LIMIT_OF_COMMANDS,
    refused: Container[Digest] = (),
) -> ImagePackages:
    """Return what all SBOMs of an image list, if it has any; raise ManifestUnknown. `refused` is as above."""
    places = find_layers(catalog, snapshot, digest, limit.layers)
    sboms, packages, is_cut = list[AttachedSbom](), dict[ListedPackage, None](), len(places) > limit.layers
    for found, sbom in _sboms(catalog, snapshot, places, limit, refused):
        sboms.append(found)
        if sbom is None:
            is_cut = True
            continue
        packages |= dict.fromkeys(sbom.packages)
        is_cut |= sbom.is_cut or len(packages) > MOST_SHOWN
    shown = sorted(packages, key=lambda one: (one.type, one.package, one.version, one.qualifiers))
    return ImagePackages(tuple(sboms), tuple(shown[:MOST_SHOWN]), is_cut)


def read_raw_sbom(
    catalog: Catalog, snapshot: Snapshot, digest: Digest, format_: str = ""
) -> tuple[AttachedSbom, bytes]:
    """Return one SBOM's bytes as they were attached, or taken out of the attestation that holds it.

    `format_` is the beginning of its format, such as `spdx` or `CycloneDX-1.5`. Raise ManifestUnknown where there is none,
    InvalidInput where there are several.
    """
    found = [
        one
        for one in list_sboms(catalog, snapshot, digest)
        if one.state == "read" and one.format.lower().startswith(format_.lower())
    ]
    own = [one for one in found if one.image == digest] or found
    _check_read(own, digest, format_)
    if len({one.document for one in own}) > 1:
        listed = ", ".join(f"{one.sbom} ({one.format})" for one in own[:5])
        raise InvalidInput(f"{len(own)} SBOMs of {digest}: give one's own digest, or a format; there are {listed}")
    raw = catalog.rights.read(snapshot, own[0].document)
    document = load_json(raw)
    inner = find_sbom(document)
    return own[0], raw if inner is document else json.dumps(inner).encode()


def _check_read(found: Sequence[AttachedSbom], digest: Digest, format_: str = "") -> None:
    if not any(one.state == "read" for one in found):
        what = f"SBOM in {format_}" if format_ else "SBOM"
        absent = " whose content is here" if found else ""
        raise ManifestUnknown(f"{digest} has no {what}{absent}; attach one by `entrepot sbom attach`")


def _sboms(
    catalog: Catalog,
    snapshot: Snapshot,
    places: Sequence[DocumentLayer],
    limit: ReadLimit,
    refused: Container[Digest],
) -> Iterator[tuple[AttachedSbom, Sbom | None]]:
    """Give SBOMs with what they list, None for one that was not read; one document after the other is in memory."""
    seen, left = set[tuple[Digest, Digest]](), limit.all
    for place in places[: limit.layers]:
        key = place.manifest, place.layer.digest
        if key in seen or any(one in refused for one in (place.subject, *key)):
            continue
        seen.add(key)
        size = catalog.rights.usable_size(snapshot, place.layer.digest)
        is_small = size is not None and size <= min(limit.each, left)
        if size is not None and is_small:
            left -= size
        found, sbom = _look_at(catalog, snapshot, place, size, is_small=is_small)
        if found is not None:
            yield found, sbom


def _places(catalog: Catalog, snapshot: Snapshot, digest: Digest, most: int) -> Iterator[DocumentLayer]:
    manifest = catalog.manifests.read(digest, snapshot.manifests[digest].media_type)
    if kind_of(manifest) in _KINDS:
        about = manifest.subject.digest if manifest.subject else digest
        yield from (DocumentLayer(about, digest, layer) for layer in manifest.layers)
    yield from layers_of_documents(catalog, snapshot, digest, most)


def _look_at(
    catalog: Catalog, snapshot: Snapshot, place: DocumentLayer, size: int | None, *, is_small: bool
) -> tuple[AttachedSbom | None, Sbom | None]:
    entry, layer = snapshot.manifests[place.manifest], place.layer
    found = AttachedSbom(
        place.subject, place.manifest, layer.digest, entry.artifact_type or layer.media_type, layer.size, "absent"
    )
    is_sbom = kind_of(catalog.manifests.read(place.manifest, entry.media_type)) == "sbom"
    if size is None:
        return (found if is_sbom else None), None
    if not is_small:
        return (replace(found, state="too-large", size=size) if is_sbom else None), None
    try:
        raw = catalog.rights.read(snapshot, layer.digest)
    except EntrepotError:
        return (found if is_sbom else None), None
    document = load_json(raw)
    sbom = read_sbom(document, MOST_SHOWN)
    if sbom is None:
        return (replace(found, state="invalid", size=size) if is_sbom else None), None
    signatures = unwrap(document).signatures
    signer = clean_text(signer_of_bundle(raw), longest=_LONGEST_SIGNER) if _is_bundle(document) else ""
    return (
        replace(
            found,
            state="read",
            size=size,
            format=sbom.format,
            packages=len(sbom.packages),
            signer=signer or ("key" if signatures else ""),
        ),
        sbom,
    )


def _is_bundle(document: object) -> bool:
    return isinstance(document, dict) and "dsseEnvelope" in document


@dataclass(frozen=True, slots=True)
class PackageChange:
    """What has become of a package: `change` is added, removed, upgraded, downgraded or changed.

    Versions are in the order of their ecosystem. A change is neither up nor down where they cannot be compared, or some stay.
    """

    change: str
    package: str
    type: str
    old: tuple[str, ...]
    new: tuple[str, ...]


def compare_images(old: ImagePackages, new: ImagePackages) -> list[PackageChange]:
    """Return which packages differ, by name. Pure."""
    found = diff_packages(_by_name(old), _by_name(new))
    types = {one.package: one.type for one in (*old.packages, *new.packages)}
    pairs = {
        **{name: (frozenset[str](), versions) for name, versions in found.added.items()},
        **{name: (versions, frozenset[str]()) for name, versions in found.removed.items()},
        **found.changed,
    }
    return [_change(name, types[name], *pairs[name]) for name in sorted(pairs)]


def _by_name(image: ImagePackages) -> dict[str, frozenset[str]]:
    found = dict[str, set[str]]()
    for one in image.packages:
        found.setdefault(one.package, set()).add(one.version)
    return {name: frozenset(versions) for name, versions in found.items()}


def _change(name: str, type_: str, old: frozenset[str], new: frozenset[str]) -> PackageChange:
    change = "added" if not old else "removed" if not new else _direction(type_, old, new)
    return PackageChange(change, name, type_, in_order(type_, old), in_order(type_, new))


def _direction(type_: str, old: Iterable[str], new: Iterable[str]) -> str:
    """Return whether every old version comes before every new one, or after it."""
    orders = {compare_versions(type_, before, after) for before in old for after in new}
    return "upgraded" if orders == {-1} else "downgraded" if orders == {1} else "changed"


def in_order(type_: str, versions: Iterable[str]) -> tuple[str, ...]:
    """Return versions in the order of their ecosystem; as texts where one cannot be compared. Pure."""
    texts = sorted(versions)
    if any(compare_versions(type_, texts[0], one) is None for one in texts):
        return tuple(texts)
    return tuple(sorted(texts, key=cmp_to_key(lambda one, other: compare_versions(type_, one, other) or 0)))
