"""An OCI image layout folder as a Source and a Target. Source: image-spec, image-layout.md."""

import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from oci import mediatypes
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest, new_hasher
from oci.errors import (
    BlobUnknown,
    DigestInvalid,
    EntrepotError,
    LayoutInvalid,
    ManifestInvalid,
    ManifestUnknown,
    SizeInvalid,
)
from oci.manifest import MAX_BYTES, Manifest, parse_manifest
from oci.reference import parse_tag

TAG = "org.opencontainers.image.ref.name"
_VERSION = {"imageLayoutVersion": "1.0.0"}
_CHUNK = 1024 * 1024


class Layout:
    """The folder at `path`. One process writes to it at a time; readers always find a whole index."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a layout made by whomever; raise LayoutInvalid, naming what is wrong, for a folder that is none."""
        layout = cls(path)
        version = layout._read_json("oci-layout").get("imageLayoutVersion")
        if not isinstance(version, str) or not version.startswith("1."):
            raise LayoutInvalid(f"{path}: image layout version {version!r} is not known; 1.0.0 is")
        layout.entries()
        return layout

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an empty layout in a new or empty folder, or open the one that is there."""
        if (path / "oci-layout").exists():
            return cls.open(path)
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise LayoutInvalid(f"{path} is neither empty nor an image layout")
        (path / "blobs").mkdir()
        layout = cls(path)
        layout._write_index([])
        _write_file(path / "oci-layout", json.dumps(_VERSION).encode())
        return layout

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.path)

    def entries(self) -> list[Descriptor]:
        """Return the descriptors of index.json; raise LayoutInvalid."""
        found = self._read_json("index.json").get("manifests")
        if not isinstance(found, list):
            raise LayoutInvalid(f"{self.path}/index.json has no list of manifests")
        try:
            return [Descriptor.from_json(entry, where=f"manifests[{n}]") for n, entry in enumerate(found)]
        except ManifestInvalid as error:
            raise LayoutInvalid(f"{self.path}/index.json: {error}") from error

    def _read_json(self, name: str) -> dict[str, object]:
        try:
            document = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            raise LayoutInvalid(f"{self.path} is no image layout: {name} is missing") from None
        except ValueError as error:
            raise LayoutInvalid(f"{self.path}/{name} is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise LayoutInvalid(f"{self.path}/{name} is JSON, but not an object")
        return document

    def blob_path(self, digest: Digest) -> Path:
        """Return where a blob lies, or would."""
        return self.path / "blobs" / digest.algorithm / digest.encoded

    # --- Source ---

    async def tags(self) -> AsyncIterator[str]:
        """Yield the names that index.json gives, in ASCII order."""
        names = {entry.annotations.get(TAG, "") for entry in self.entries()}
        for tag in sorted(names - {""}):
            yield tag

    async def resolve(self, reference: str) -> Descriptor:
        """Return what a tag or digest text points to; raise ManifestUnknown."""
        for entry in self.entries():
            if reference in (entry.annotations.get(TAG), entry.digest):
                return Descriptor(entry.media_type, entry.digest, entry.size, platform=entry.platform)
        raise ManifestUnknown(f"{reference[:200]!r} is not in the index of {self.path}")

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest, verified; raise ManifestUnknown, SizeInvalid or DigestInvalid."""
        if descriptor.size > MAX_BYTES:
            raise ManifestInvalid(f"manifest {descriptor.digest} is above the limit of {MAX_BYTES} bytes")
        try:
            raw = await asyncio.to_thread(self.blob_path(descriptor.digest).read_bytes)
        except FileNotFoundError:
            raise ManifestUnknown(f"manifest {descriptor.digest} is missing from {self.path}") from None
        _check(descriptor, len(raw), Digest.of(raw, descriptor.digest.algorithm), self.path)
        return parse_manifest(raw, descriptor.media_type, algorithm=descriptor.digest.algorithm)

    async def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """Yield a blob's bytes, which the reader verifies; raise BlobUnknown."""
        try:
            file = self.blob_path(descriptor.digest).open("rb")  # reads are off the loop
        except FileNotFoundError:
            raise BlobUnknown(f"blob {descriptor.digest} is missing from {self.path}") from None
        with file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk

    # --- Target ---

    async def has(self, descriptor: Descriptor) -> bool:
        """Return whether the content is there with its size; it was verified when it was written."""
        path = self.blob_path(descriptor.digest)
        return path.is_file() and descriptor.size in (path.stat().st_size, UNKNOWN_SIZE)

    async def write_blob(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Keep a blob; raise SizeInvalid or DigestInvalid, and keep nothing, where the bytes are not the descriptor's."""
        staged = self.path / f".staged-{uuid.uuid4().hex}"
        hasher, size = new_hasher(descriptor.digest.algorithm), 0
        try:
            with staged.open("xb") as file:  # writes are off the loop
                async for chunk in chunks:
                    size += len(chunk)
                    if descriptor.size != UNKNOWN_SIZE and size > descriptor.size:
                        raise SizeInvalid(f"expected {descriptor.size} bytes of {descriptor.digest}, got more")
                    hasher.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
                found = Digest.from_hasher(descriptor.digest.algorithm, hasher)
                _check(descriptor, size, found, self.path)
                file.flush()
                await asyncio.to_thread(os.fsync, file.fileno())
            _place(staged, self.blob_path(descriptor.digest))
        except BaseException:
            with suppress(FileNotFoundError):
                staged.unlink()
            raise

    async def write_manifest(self, manifest: Manifest) -> None:
        """Keep a manifest's bytes; `write_tag` lists it in index.json."""
        await asyncio.to_thread(_write_file, self.blob_path(manifest.digest), manifest.raw)

    async def write_tag(self, tag: str, manifest: Manifest) -> None:
        """Name a manifest in index.json, taking the name from whatever had it."""
        named = Descriptor(manifest.media_type, manifest.digest, manifest.size, annotations={TAG: parse_tag(tag)})
        others = [found for found in self.entries() if found.annotations.get(TAG) != tag]
        await asyncio.to_thread(self._write_index, [*others, named])

    async def list_untagged(self, manifests: Iterable[Manifest]) -> None:
        """List manifests in index.json without a name, as far as it does not list them yet."""
        found = self.entries()
        listed = {entry.digest for entry in found}
        new = [one.descriptor for one in manifests if one.digest not in listed]
        if new:
            await asyncio.to_thread(self._write_index, [*found, *new])

    def _write_index(self, entries: list[Descriptor]) -> None:
        index = {
            "schemaVersion": 2,
            "mediaType": mediatypes.OCI_INDEX,
            "manifests": [entry.to_json() for entry in entries],
        }
        _write_file(self.path / "index.json", json.dumps(index, indent=1).encode())


def _check(descriptor: Descriptor, size: int, found: Digest, path: Path) -> None:
    error: EntrepotError | None = None
    if descriptor.size not in (size, UNKNOWN_SIZE):
        error = SizeInvalid(f"{path}: expected {descriptor.size} bytes of {descriptor.digest}, got {size}")
    elif found != descriptor.digest:
        error = DigestInvalid(f"{path}: expected {descriptor.digest}, but the {size} bytes are {found}")
    if error:
        raise error


def _write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, durable on return."""
    staged = path.parent / f".staged-{uuid.uuid4().hex}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _place(staged, path)


def _place(staged: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
