"""Manifests and indexes, with their exact bytes. Source: image-spec, manifest.md and image-index.md."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from oci import mediatypes
from oci.descriptor import UNKNOWN_SIZE, Descriptor, read_annotations
from oci.digest import Digest
from oci.errors import ManifestInvalid
from oci.reference import parse_name

MAX_BYTES = 4 * 1024 * 1024
"""The largest manifest that is read or accepted, in bytes. Source: distribution-spec, "Pushing manifests"."""

Role = Literal["manifest", "config", "layer"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest or index: `raw` is what its digest names; the rest is read from it."""

    raw: bytes = field(repr=False)
    digest: Digest
    media_type: str
    artifact_type: str = ""
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def size(self) -> int:
        """Bytes of `raw`."""
        return len(self.raw)

    @property
    def is_index(self) -> bool:
        """Return whether this is an image index or a docker manifest list."""
        return self.media_type in mediatypes.INDEXES

    @property
    def descriptor(self) -> Descriptor:
        """A plain pointer to this manifest."""
        return Descriptor(self.media_type, self.digest, self.size)

    def children(self) -> Iterator[tuple[Role, Descriptor]]:
        """Yield the parts of this manifest, each with its role; the subject is no part."""
        for child in self.manifests:
            yield "manifest", child
        if self.config:
            yield "config", self.config
        for layer in self.layers:
            yield "layer", layer


def required_blobs(manifest: Manifest) -> Iterator[Descriptor]:
    """Yield the blobs that a registry holding the manifest must hold, each digest once: config, layers, an index's odd parts."""
    seen: set[Digest] = set()
    for _role, child in manifest.children():
        if (
            child.digest in seen
            or child.media_type in mediatypes.MANIFESTS
            or mediatypes.is_nondistributable(child.media_type)
        ):
            continue
        seen.add(child.digest)
        yield child


def plain_media_type(content_type: str) -> str:
    """Return a Content-Type header without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def parse_manifest(raw: bytes, media_type: str = "", *, algorithm: str = "sha256") -> Manifest:
    """Read a manifest; `media_type` is that of its carrier (Content-Type or descriptor), empty where it names none.

    Raises ManifestInvalid for what is no JSON object, contradicts the media type, or mixes image and index.
    """
    if len(raw) > MAX_BYTES:
        raise ManifestInvalid(f"manifest of {len(raw)} bytes is above the limit of {MAX_BYTES}")
    document = _read_object(raw)
    kind = _media_type(document, media_type)
    if kind in mediatypes.SCHEMA1:
        return _parse_schema1(raw, document, algorithm)
    if kind in mediatypes.INDEXES:
        _refuse(document, kind, "layers", "config")
    elif kind in mediatypes.IMAGE_MANIFESTS:
        _refuse(document, kind, "manifests", "fsLayers")
    else:
        raise ManifestInvalid(
            f"{kind!r} is not a manifest's media type; known: {', '.join(sorted(mediatypes.MANIFESTS))}"
        )
    subject, artifact_type = document.get("subject"), document.get("artifactType")
    return Manifest(
        raw=raw,
        digest=Digest.of(raw, algorithm),
        media_type=kind,
        artifact_type=artifact_type if isinstance(artifact_type, str) else "",
        config=_config(document, kind),
        layers=_descriptors(document, "layers") if kind in mediatypes.IMAGE_MANIFESTS else (),
        manifests=_descriptors(document, "manifests") if kind in mediatypes.INDEXES else (),
        subject=None if subject is None else Descriptor.from_json(subject, where="subject"),
        annotations=read_annotations(document.get("annotations"), where="manifest"),
    )


def _read_object(raw: bytes) -> dict[str, object]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"manifest is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ManifestInvalid("manifest is JSON, but not an object")
    return document


def _media_type(document: Mapping[str, object], carried: str) -> str:
    """Agree on the media type: the body's `mediaType`, the carrier's, or what the fields show."""
    carried, stated = plain_media_type(carried), document.get("mediaType")
    if stated is not None and not isinstance(stated, str):
        raise ManifestInvalid("mediaType is not a text")
    if carried in ("", "application/json", "application/octet-stream", "text/plain"):
        carried = ""
    if stated and carried and stated != carried and not {stated, carried} <= mediatypes.SCHEMA1:
        raise ManifestInvalid(f"the manifest says it is {stated!r}, but was sent as {carried!r}")
    if stated or carried:
        return stated or carried
    if document.get("schemaVersion") == 1:
        return mediatypes.DOCKER_SCHEMA1_SIGNED if "signatures" in document else mediatypes.DOCKER_SCHEMA1
    return mediatypes.OCI_INDEX if "manifests" in document else mediatypes.OCI_MANIFEST


def _refuse(document: Mapping[str, object], kind: str, *fields: str) -> None:
    for name in fields:
        if document.get(name) is not None:
            raise ManifestInvalid(f"a manifest of type {kind!r} cannot have {name!r}")


def _config(document: Mapping[str, object], kind: str) -> Descriptor | None:
    value = document.get("config")
    if value is None:
        if kind in mediatypes.IMAGE_MANIFESTS:
            raise ManifestInvalid("an image manifest needs a config descriptor")
        return None
    return Descriptor.from_json(value, where="config")


def _descriptors(document: Mapping[str, object], name: str) -> tuple[Descriptor, ...]:
    values = document.get(name)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise ManifestInvalid(f"{name} is not a list")
    return tuple(Descriptor.from_json(value, where=f"{name}[{number}]") for number, value in enumerate(values))


def _parse_schema1(raw: bytes, document: Mapping[str, object], algorithm: str) -> Manifest:
    """Read docker schema 1: its digest names the payload inside the signature, so the payload is stored."""
    payload = _schema1_payload(raw, document)
    entries = document.get("fsLayers")
    if not isinstance(entries, list):
        raise ManifestInvalid("a schema 1 manifest needs fsLayers")
    digests = dict.fromkeys(
        Digest.parse(str(entry.get("blobSum", ""))) for entry in entries if isinstance(entry, Mapping)
    )
    name = document.get("name")
    if isinstance(name, str) and name:
        parse_name(name)
    return Manifest(
        raw=payload,
        digest=Digest.of(payload, algorithm),
        media_type=mediatypes.DOCKER_SCHEMA1,
        layers=tuple(Descriptor(mediatypes.DOCKER_LAYER_GZIP, digest, UNKNOWN_SIZE) for digest in digests),
    )


def _schema1_payload(raw: bytes, document: Mapping[str, object]) -> bytes:
    signatures = document.get("signatures")
    if not signatures:
        return raw
    try:
        protected = signatures[0]["protected"]  # type: ignore[index]  # any other shape is the error below
        header = json.loads(_base64url(protected))
        return raw[: int(header["formatLength"])] + _base64url(header["formatTail"])
    except (KeyError, IndexError, TypeError, ValueError, binascii.Error) as error:
        raise ManifestInvalid("a schema 1 manifest's signature does not say where its payload ends") from error


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
