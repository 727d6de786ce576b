"""Descriptors: typed, sized pointers to content. Source: image-spec, descriptor.md."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from oci.digest import Digest
from oci.errors import DigestInvalid, ManifestInvalid
from oci.platform import Platform

UNKNOWN_SIZE = -1
"""The size of a descriptor of a docker schema 1 entry, which states none."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to content; `size` is in bytes; `data` is the content itself where it was embedded."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str = ""
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    urls: tuple[str, ...] = ()
    data: bytes | None = None

    @classmethod
    def from_json(cls, value: object, *, where: str = "descriptor") -> Self:
        """Read a descriptor object; raise ManifestInvalid that names `where` it stands."""
        if not isinstance(value, Mapping):
            raise ManifestInvalid(f"{where} is not an object")
        media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
        if not isinstance(media_type, str) or not isinstance(digest, str):
            raise ManifestInvalid(f"{where} needs mediaType and digest texts")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ManifestInvalid(f"{where} needs a size that is a whole number of bytes, not {size!r}")
        try:
            parsed = Digest.parse(digest)
        except DigestInvalid as error:
            raise ManifestInvalid(f"{where}: {error}") from error
        platform, artifact_type, urls = value.get("platform"), value.get("artifactType"), value.get("urls")
        return cls(
            media_type=media_type,
            digest=parsed,
            size=size,
            artifact_type=artifact_type if isinstance(artifact_type, str) else "",
            platform=Platform.from_json(platform) if isinstance(platform, Mapping) else None,
            annotations=read_annotations(value.get("annotations"), where=where),
            urls=tuple(url for url in urls if isinstance(url, str)) if isinstance(urls, list) else (),
            data=_read_data(value.get("data"), where=where),
        )

    def to_json(self) -> dict[str, object]:
        """Return the object a manifest holds, empty fields left out."""
        result: dict[str, object] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.urls:
            result["urls"] = list(self.urls)
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        if self.data is not None:
            result["data"] = base64.b64encode(self.data).decode()
        if self.platform:
            result["platform"] = self.platform.to_json()
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        return result


def read_annotations(value: object, *, where: str) -> dict[str, str]:
    """Read an `annotations` or `labels` object; null counts as absent, and as a value it is the empty text."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(text is None or isinstance(text, str) for text in value.values()):
        raise ManifestInvalid(f"{where}: annotations are not an object of texts")
    return {name: text or "" for name, text in value.items()}


def _read_data(value: object, *, where: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ManifestInvalid(f"{where}: data is not base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ManifestInvalid(f"{where}: data is not base64 text") from error
