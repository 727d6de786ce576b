"""Which image a document is about that names none: by cosign's tag, or by the index that lists it as BuildKit's attestation.

Source: cosign's tags `sha256-HEX.att` and `.sbom`; BuildKit, attestation storage.
"""

import re
import sqlite3
from collections.abc import Callable

from catalog.documents.reading import described_image
from catalog.search.schema import digest_bytes, digest_of
from catalog.versions.snapshot import Snapshot
from catalog.versions.snapshot_cache import Snapshots
from oci import mediatypes
from oci.digest import Digest
from oci.errors import EntrepotError
from oci.manifest import Manifest

MOST_INDEXES = 5_000
"""Indexes of a repository that are looked through at most."""

_AT_ONCE = 200
_TAG = re.compile(r"sha256-([0-9a-f]{64})\.(?:att|sbom)")
_UNRESOLVED = """SELECT documents.manifest, documents.repository, repositories.name FROM documents
    JOIN repositories ON repositories.id = documents.repository WHERE is_resolved = 0 ORDER BY documents.repository LIMIT ?"""
_TAGS = """SELECT tag_names.name FROM tags JOIN tag_names ON tag_names.id = tags.name
    WHERE tags.manifest = ? AND tags.repository = ? ORDER BY gone, tag_names.name LIMIT 100"""
ReadManifest = Callable[[Digest, str], Manifest]


def is_document_tag(tag: str) -> bool:
    """Return whether a tag says which image the document under it is about. Pure."""
    return _TAG.fullmatch(tag) is not None


def resolve_subjects(
    connection: sqlite3.Connection, snapshots: Snapshots, read: ReadManifest, is_over: Callable[[], bool]
) -> None:
    """Write down the images of documents that name none; of some nobody says it."""
    last, attested = "", dict[Digest, Digest]()
    while not is_over() and (rows := connection.execute(_UNRESOLVED, [_AT_ONCE]).fetchall()):
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for manifest, repository, name in rows:
                subject = _by_tag(connection, manifest, repository)
                if subject is None:
                    if name != last:
                        last, attested = str(name), _attested_images(snapshots, str(name), read)
                    (digest,) = connection.execute("SELECT digest FROM manifests WHERE id = ?", [manifest]).fetchone()
                    subject = attested.get(digest_of(digest))
                connection.execute(
                    "UPDATE documents SET is_resolved = 1, subject = ? WHERE manifest = ? AND repository = ?",
                    [digest_bytes(subject) if subject else b"", manifest, repository],
                )


def _by_tag(connection: sqlite3.Connection, manifest: int, repository: int) -> Digest | None:
    names = connection.execute(_TAGS, [manifest, repository])
    found = next((match for (name,) in names if (match := _TAG.fullmatch(str(name)))), None)
    return Digest(f"sha256:{found[1]}") if found else None


def _attested_images(snapshots: Snapshots, name: str, read: ReadManifest) -> dict[Digest, Digest]:
    """Return the images that attestations are about, by the indexes of a repository's latest version."""
    try:
        return attested_images(snapshots.get(name), read)
    except EntrepotError:  # it has ended meanwhile
        return {}


def attested_images(snapshot: Snapshot, read: ReadManifest) -> dict[Digest, Digest]:
    """Return the images that attestations of BuildKit's are about, by the first indexes of a version."""
    found = dict[Digest, Digest]()
    indexes = [digest for digest, entry in snapshot.manifests.items() if entry.media_type in mediatypes.INDEXES]
    for digest in indexes[:MOST_INDEXES]:
        try:
            manifest = read(digest, snapshot.manifests[digest].media_type)
        except EntrepotError:  # an index that is not here says nothing
            continue
        for child in manifest.manifests:
            if image := described_image(child.annotations):
                found[child.digest] = image
    return found
