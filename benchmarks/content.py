"""Images to push and serve: random bytes in real gzip streams, the same in every run."""

import gzip
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
_BLOCK = 64 * 1024 * 1024
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class Blob:
    """Bytes and what a manifest says of them."""

    data: bytes
    media_type: str
    digest: str

    @property
    def descriptor(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass(frozen=True)
class Image:
    """A tagged manifest and its blobs, config first."""

    tag: str
    manifest: bytes
    blobs: tuple[Blob, ...]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_blob(data: bytes, media_type: str) -> Blob:
    return Blob(data, media_type, digest_of(data))


def make_layer(seed: str, size: int) -> Blob:
    """About `size` bytes that do not compress, as a gzip stream, which clients take as it is."""
    block = random.Random(seed).randbytes(min(size, _BLOCK))
    return make_blob(gzip.compress((block * -(-size // len(block)))[:size], compresslevel=0, mtime=0), LAYER)


def make_image(tag: str, layers: Sequence[Blob]) -> Image:
    """An image whose config names the tag, so that every tag has a manifest of its own."""
    rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in layers]}
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"tag": tag}}, "rootfs": rootfs}
    blob = make_blob(json.dumps(config).encode(), CONFIG)
    return Image(tag, manifest_of(blob.descriptor, [layer.descriptor for layer in layers]), (blob, *layers))


def manifest_of(config: dict[str, object], layers: Sequence[dict[str, object]]) -> bytes:
    """An OCI image manifest."""
    return json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": list(layers)}, indent=2
    ).encode()


def series(name: str, tags: int, *, bases: int, base_size: int, own_size: int) -> Iterator[Image]:
    """A repository as teams have them: each tag has one of a few base layers and a small layer of its own."""
    shared = [make_layer(f"{name} base {number}", base_size) for number in range(bases)]
    for number in range(tags):
        own = make_layer(f"{name} own {number}", own_size)
        yield make_image(f"v{number // 100}.{number % 100}", [shared[number % bases], own])


@dataclass(frozen=True)
class LargeImage:
    """An OCI layout with one image, tagged `v1`, whose one layer is a file of `size` bytes."""

    layout: Path
    layer: Path
    layer_digest: str
    size: int
    manifest: bytes
    config: Blob


def make_large_image(folder: Path, size: int) -> LargeImage:
    """Write a layout with one layer of about `size` bytes, in bounded memory."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    block = random.Random("large").randbytes(8 * 1024 * 1024)
    staged = folder / "layer"
    with staged.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=0, mtime=0) as stream:
        for _ in range(size // len(block)):
            stream.write(block)
    with staged.open("rb") as whole:
        name = hashlib.file_digest(whole, "sha256").hexdigest()
    layer = staged.rename(blobs / name)
    descriptor: dict[str, object] = {"mediaType": LAYER, "digest": f"sha256:{name}", "size": layer.stat().st_size}
    config = make_blob(json.dumps({"architecture": "amd64", "os": "linux"}).encode(), CONFIG)
    manifest = manifest_of(config.descriptor, [descriptor])
    for data in (config.data, manifest):
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
    listed = {
        "mediaType": MANIFEST,
        "digest": digest_of(manifest),
        "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": "v1"},
    }
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    return LargeImage(folder, layer, f"sha256:{name}", layer.stat().st_size, manifest, config)
