"""Documents about images, and where they are found: bills of materials and provenance, read by the right of a version.

Source: the referrers API, cosign's tags `.sbom` and `.att`, and BuildKit's attestation manifests within an index.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from catalog.catalog import Catalog
from catalog.documents.packages import PackageCollector, Packages, packages_in
from catalog.documents.reading import described_image, load_json
from catalog.documents.statements import ProvenanceStatement, provenance_in
from catalog.filters.companions import CompanionFilter
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError

MAX_DOCUMENT = 64 * 1024 * 1024
"""No larger document is read."""

_IN_TOTO = "application/vnd.in-toto+json"
MOST_STATEMENTS = 20


@dataclass(frozen=True, slots=True)
class ReadLimit:
    """How much is read about one image: `layers` that may hold a document, the bytes of each, and the bytes of all."""

    layers: int
    each: int
    all: int


@dataclass(frozen=True, slots=True)
class ImageDocuments:
    """What documents say about an image: `packages` None where no bill of materials is among them.

    `is_cut`: a limit has kept some from being read. `documents` counts the bills of materials.
    """

    packages: Packages | None
    documents: int
    statements: tuple[ProvenanceStatement, ...]
    is_cut: bool


LIMIT_OF_REQUESTS = ReadLimit(layers=50, each=8 * 1024 * 1024, all=16 * 1024 * 1024)
"""What is read for one request: two at a time are read for, each of which takes some ten times as much memory."""

_ALL = ReadLimit(10**9, MAX_DOCUMENT, 10**18)


def find_packages(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> Packages | None:
    """The packages of an image, or of all images of an index, by all documents held; None without one, or with too many."""
    found = read_documents(catalog, snapshot, digest, _ALL)
    return None if found.is_cut else found.packages


def read_documents(catalog: Catalog, snapshot: Snapshot, digest: Digest, limit: ReadLimit) -> ImageDocuments:
    """Return what the documents about an image say, or about all images of an index; each is read and parsed once."""
    packages = PackageCollector()
    statements: list[ProvenanceStatement] = []
    documents, left, is_cut = 0, limit.all, False
    for number, (subject, _, layer) in enumerate(layers_of_documents(catalog, snapshot, digest, limit.layers)):
        if number >= limit.layers:
            is_cut = True
            break
        size = catalog.rights.usable_size(snapshot, layer.digest)
        if size is None:  # left upstream, or somebody else's
            continue
        if size > min(limit.each, left):
            is_cut = True
            continue
        left -= size
        document = _load(catalog, snapshot, layer)
        found = packages_in(document)
        if found is not None:
            documents += 1
            packages.add_list(found)
        elif len(statements) < MOST_STATEMENTS and (statement := provenance_in(document, subject)) is not None:
            statements.append(statement)
    listed = packages.finish()
    return ImageDocuments(listed.packages if documents else None, documents, tuple(statements), is_cut or listed.is_cut)


def _load(catalog: Catalog, snapshot: Snapshot, layer: Descriptor) -> object:
    try:
        return load_json(catalog.rights.read(snapshot, layer.digest))
    except EntrepotError:
        return None


class DocumentLayer(NamedTuple):
    """A layer that may hold a document: what this is about, and the manifest that has the layer."""

    subject: Digest
    manifest: Digest
    layer: Descriptor


def layers_of_documents(
    catalog: Catalog, snapshot: Snapshot, digest: Digest, most: int, *, is_child: bool = False
) -> Iterator[DocumentLayer]:
    """Give the layers that may hold a document about a manifest or about a child of it.

    One more than `most` manifests are read beside each, so that the caller knows of more.
    """
    entry = snapshot.manifests.get(digest)
    if entry is None:
        return
    attached = [*snapshot.referrers.get(digest, ())]
    attached += [snapshot.tags[tag] for tag in CompanionFilter().tags_of(digest) if tag in snapshot.tags]
    for one in attached[: most + 1]:
        layers = catalog.manifests.read(one, snapshot.manifests[one].media_type).layers
        yield from (DocumentLayer(digest, one, layer) for layer in layers)
    manifest = catalog.manifests.read(digest, entry.media_type)
    if is_child:
        yield from (DocumentLayer(digest, digest, one) for one in manifest.layers if one.media_type == _IN_TOTO)
    if entry.media_type in mediatypes.INDEXES and not is_child:
        for child in manifest.manifests[: most + 1]:
            about = described_image(child.annotations)
            for found in layers_of_documents(catalog, snapshot, child.digest, most, is_child=True):
                yield found._replace(subject=about or found.subject)
