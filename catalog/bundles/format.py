"""The form of a bundle: an OCI image layout, as a folder or a tar, with one document that says what versions it carries.

`entrepot.json` comes first, then `oci-layout` and `index.json` (image-spec, image-layout.md), then blobs. Tools that know
layouts see the tags as `NAME:TAG`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import DigestInvalid, NameInvalid, RequestError, TagInvalid
from oci.layout import TAG
from oci.reference import parse_name, parse_tag

FORMAT = 1
DOCUMENT = "entrepot.json"
MAX_DOCUMENT = 2**30


class BundleInvalid(RequestError):
    """A bundle that cannot be read, is damaged, or does not fit what is held here."""


@dataclass(frozen=True, slots=True)
class BundledVersion:
    """One version of one repository: all its tags and manifests; `since` is the version whose content is left out, 0: none."""

    repository: str
    version: int
    since: int
    tags: Mapping[str, Digest]
    manifests: Mapping[Digest, ManifestEntry]

    def as_snapshot(self) -> Snapshot:
        """The state to import."""
        return Snapshot(self.repository, self.version, self.tags, self.manifests)


@dataclass(frozen=True, slots=True)
class Contents:
    """What `entrepot.json` says: versions, and each blob in the bundle (manifests too) with its size in bytes."""

    versions: tuple[BundledVersion, ...]
    blobs: Mapping[Digest, int]
    created_at: str = ""
    tool: str = field(default="entrepot")

    @property
    def bytes(self) -> int:
        """Bytes of all blobs in the bundle."""
        return sum(self.blobs.values())


def blob_path(digest: Digest) -> str:
    """Return where a layout keeps a blob."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def render_contents(contents: Contents) -> bytes:
    """The document, with a checksum over the rest of it."""
    document = {
        "format": FORMAT,
        "tool": contents.tool,
        "created_at": contents.created_at,
        "versions": [
            {
                "repository": one.repository,
                "version": one.version,
                "since": one.since,
                "tags": dict(one.tags),
                "manifests": {digest: asdict(entry) for digest, entry in one.manifests.items()},
            }
            for one in contents.versions
        ],
        "blobs": dict(contents.blobs),
    }
    return json.dumps({**document, "checksum": _checksum(document)}, indent=1).encode()


def _checksum(document: Mapping[str, object]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(canonical).hexdigest()}"


def parse_contents(raw: bytes, *, where: str) -> Contents:
    """Read the document; raise BundleInvalid for one that is damaged, of a newer format, or none."""
    try:
        document = json.loads(raw)
        checksum = document.pop("checksum")
        found_format = document["format"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleInvalid(f"{where}: {DOCUMENT} is damaged or not a bundle's: {error}") from None
    if isinstance(found_format, int) and found_format > FORMAT:
        raise BundleInvalid(f"{where} has format {found_format}; this release reads up to {FORMAT}: upgrade entrepot")
    if found_format != FORMAT or checksum != _checksum(document):
        raise BundleInvalid(f"{where}: {DOCUMENT} is damaged: its checksum is not that of its content")
    try:
        versions = tuple(_read_version(one) for one in document["versions"])
        blobs = {Digest.parse(digest): _size(size) for digest, size in document["blobs"].items()}
        return Contents(versions, blobs, str(document.get("created_at", "")), str(document.get("tool", "")))
    except (KeyError, TypeError, ValueError, AttributeError, DigestInvalid, NameInvalid, TagInvalid) as error:
        raise BundleInvalid(f"{where}: {DOCUMENT} cannot be read: {error}") from None


def _read_version(found: Mapping[str, Any]) -> BundledVersion:
    manifests = {
        Digest.parse(digest): ManifestEntry(
            str(entry["media_type"]),
            _size(entry["size"]),
            str(entry["artifact_type"]),
            Digest.parse(entry["subject"]) if entry["subject"] else None,
        )
        for digest, entry in found["manifests"].items()
    }
    tags = {parse_tag(tag): Digest.parse(digest) for tag, digest in found["tags"].items()}
    lost = [tag for tag, digest in tags.items() if digest not in manifests]
    if lost:
        raise ValueError(f"tag {lost[0]!r} points to a manifest that is not listed")
    return BundledVersion(parse_name(found["repository"]), int(found["version"]), int(found["since"]), tags, manifests)


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a size")
    return value


def render_index(versions: Sequence[BundledVersion], blobs: Mapping[Digest, int]) -> bytes:
    """index.json: the tags whose manifests are in the bundle by `NAME:TAG`, then the manifests that no tag names."""
    entries: list[dict[str, object]] = []
    for one in versions:
        tagged = set()
        for tag, digest in one.tags.items():
            if digest in blobs:
                tagged.add(digest)
                entries.append(
                    {**_descriptor(digest, one.manifests[digest]), "annotations": {TAG: f"{one.repository}:{tag}"}}
                )
        entries += [
            _descriptor(digest, entry)
            for digest, entry in one.manifests.items()
            if digest in blobs and digest not in tagged
        ]
    return json.dumps({"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": entries}).encode()


def _descriptor(digest: Digest, entry: ManifestEntry) -> dict[str, object]:
    return {"mediaType": entry.media_type, "digest": digest, "size": entry.size}
