"""Software bills of materials: the packages that documents about an image list.

Source: SPDX 2.3 JSON, CycloneDX 1.x JSON, in-toto statements (v0.1, v1) in DSSE envelopes or sigstore bundles, and where they are
attached: the referrers API, cosign's tags `.sbom` and `.att`, and BuildKit's attestation manifests within an index.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.catalog import Catalog
from catalog.filters.companions import CompanionFilter
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError

MAX_DOCUMENT = 64 * 1024 * 1024
"""No larger document is read."""

_DEEP = 6
"""Wrappings around a document at most: a bundle, its envelope, a statement, the document, and some."""

_IN_TOTO = "application/vnd.in-toto+json"

Packages = Mapping[str, frozenset[str]]
"""Name (a package URL without its version where there is one) to the versions of it."""


@dataclass(frozen=True, slots=True)
class PackageDiff:
    """What differs between the packages of two images: name to versions, and of those in both what they were and are."""

    added: Packages = field(default_factory=dict)
    removed: Packages = field(default_factory=dict)
    changed: Mapping[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)


def diff_packages(old: Packages, new: Packages) -> PackageDiff:
    """Compare two lists of packages."""
    return PackageDiff(
        {name: versions for name, versions in new.items() if name not in old},
        {name: versions for name, versions in old.items() if name not in new},
        {name: (old[name], new[name]) for name in sorted(old.keys() & new.keys()) if old[name] != new[name]},
    )


def parse_packages(raw: bytes) -> Packages | None:
    """The packages that a document lists, however it is wrapped; None for one that is no bill of materials."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return _packages_of(document, _DEEP)


def _packages_of(document: object, deep: int) -> Packages | None:
    if isinstance(document, str):  # cosign's older predicates hold the document as text
        return parse_packages(document.encode()) if deep else None
    if not isinstance(document, dict) or deep == 0:
        return None
    if "spdxVersion" in document:
        return _collect(_spdx(document))
    if document.get("bomFormat") == "CycloneDX":
        return _collect(_cyclonedx(document.get("components"), 32))
    payload = document.get("payload")
    if isinstance(payload, str):
        try:
            return _packages_of(json.loads(base64.b64decode(payload)), deep - 1)
        except (ValueError, binascii.Error, RecursionError):
            return None
    for key in ("dsseEnvelope", "predicate", "Data"):
        if key in document:
            return _packages_of(document[key], deep - 1)
    return None


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    yield from (one for one in (value if isinstance(value, list) else ()) if isinstance(one, dict))


def _spdx(document: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for package in _dicts(document.get("packages")):
        if package.get("primaryPackagePurpose") == "CONTAINER":  # the image itself
            continue
        purl = next(
            (
                one.get("referenceLocator")
                for one in _dicts(package.get("externalRefs"))
                if one.get("referenceType") == "purl"
            ),
            None,
        )
        yield _name(purl, package.get("name")), str(package.get("versionInfo") or "")


def _cyclonedx(components: object, deep: int) -> Iterator[tuple[str, str]]:
    for component in _dicts(components):
        if component.get("type") != "file":
            group = component.get("group")
            name = f"{group}/{component.get('name')}" if group else component.get("name")
            yield _name(component.get("purl"), name), str(component.get("version") or "")
        if deep:
            yield from _cyclonedx(component.get("components"), deep - 1)


def _name(purl: object, name: object) -> str:
    """A package URL up to its version. Source: purl specification, `scheme:type/namespace/name@version?qualifiers#subpath`."""
    if isinstance(purl, str) and purl.startswith("pkg:"):
        bare = purl.partition("#")[0].partition("?")[0]
        head, at, version = bare.rpartition("@")
        return head if at and "/" not in version else bare
    return str(name or "")


def _collect(found: Iterable[tuple[str, str]]) -> Packages:
    packages: dict[str, set[str]] = {}
    for name, version in found:
        if name:
            packages.setdefault(name, set()).add(version)
    return {name: frozenset(versions) for name, versions in sorted(packages.items())}


def find_packages(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> Packages | None:
    """The packages of an image, or of all images of an index, by all documents held; None when there is no document."""
    found: dict[str, frozenset[str]] = {}
    is_known = False
    for layer in _documents(catalog, snapshot, digest):
        packages = _read(catalog, snapshot, layer)
        if packages is not None:
            is_known = True
            for name, versions in packages.items():
                found[name] = found.get(name, frozenset()) | versions
    return found if is_known else None


def _documents(catalog: Catalog, snapshot: Snapshot, digest: Digest, *, is_child: bool = False) -> Iterator[Descriptor]:
    """The layers that may hold a document about a manifest or about a child of it."""
    entry = snapshot.manifests.get(digest)
    if entry is None:
        return
    attached = [*snapshot.referrers.get(digest, ())]
    attached += [snapshot.tags[tag] for tag in CompanionFilter().tags_of(digest) if tag in snapshot.tags]
    for found in attached:
        yield from catalog.manifests.read(found, snapshot.manifests[found].media_type).layers
    manifest = catalog.manifests.read(digest, entry.media_type)
    yield from (layer for layer in manifest.layers if is_child and layer.media_type == _IN_TOTO)
    if entry.media_type in mediatypes.INDEXES and not is_child:
        for child in manifest.manifests:
            yield from _documents(catalog, snapshot, child.digest, is_child=True)


def _read(catalog: Catalog, snapshot: Snapshot, layer: Descriptor) -> Packages | None:
    """Return what a document lists; None for one that is left upstream, too large, or something else."""
    if layer.size > MAX_DOCUMENT or (catalog.rights.usable_size(snapshot, layer.digest) or 0) > MAX_DOCUMENT:
        return None
    try:
        return parse_packages(catalog.rights.read(snapshot, layer.digest))
    except EntrepotError:
        return None
