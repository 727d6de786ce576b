"""Makes images, indexes and artifacts of plain values, the same bytes for the same values. Source: image-spec 1.1."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.platform import Platform

EMPTY = b"{}"
"""The content of the empty descriptor. Source: image-spec, manifest.md, "Guidance for an Empty Descriptor"."""

Files = Mapping[str, bytes | str]


def pack_tar(files: Files) -> bytes:
    """Return a tar of files by path, folders made on the way; owner 0, time 0. A name ending in / is an empty folder."""
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents if str(parent) != "."}
    folders |= {name.rstrip("/") for name in files if name.endswith("/")}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in sorted(folders):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name in sorted(set(files)):
            if name.endswith("/"):
                continue
            value = files[name]
            data = value.encode() if isinstance(value, str) else value
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755 if data.startswith((b"#!", b"\x7fELF")) else 0o644
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def pack_image(
    store: MemoryStore,
    layers: Iterable[Files],
    *,
    platform: Platform | None = None,
    config: Mapping[str, object] | None = None,
    annotations: Mapping[str, str] | None = None,
    subject: Manifest | None = None,
    docker: bool = False,
    created: str = "1970-01-01T00:00:00Z",
) -> Manifest:
    """Put an image of gzip layers into the store; `config` is the config's own `config` object (Cmd, Labels, …)."""
    platform = platform or Platform("linux", "amd64")
    tars = [pack_tar(files) for files in layers]
    layer_type = mediatypes.DOCKER_LAYER_GZIP if docker else mediatypes.OCI_LAYER_GZIP
    packed = [store.put_blob(gzip.compress(tar, mtime=0), layer_type) for tar in tars]
    document: dict[str, object] = {
        "created": created,
        **platform.to_json(),
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(tar) for tar in tars]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "pack"} for _ in tars],
    }
    config_type = mediatypes.DOCKER_CONFIG if docker else mediatypes.OCI_CONFIG
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.DOCKER_MANIFEST if docker else mediatypes.OCI_MANIFEST,
        "config": store.put_blob(_json(document), config_type).to_json(),
        "layers": [layer.to_json() for layer in packed],
    }
    return _put(store, manifest, annotations, subject)


def pack_index(
    store: MemoryStore,
    children: Iterable[tuple[Manifest, Platform | None]],
    *,
    annotations: Mapping[str, str] | None = None,
    subject: Manifest | None = None,
    artifact_type: str = "",
    docker: bool = False,
) -> Manifest:
    """Put an index of manifests, each with its platform, into the store."""
    entries = [
        Descriptor(child.media_type, child.digest, child.size, platform=platform).to_json()
        for child, platform in children
    ]
    index: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.DOCKER_LIST if docker else mediatypes.OCI_INDEX,
        "manifests": entries,
    }
    if artifact_type:
        index["artifactType"] = artifact_type
    return _put(store, index, annotations, subject)


def pack_artifact(
    store: MemoryStore,
    artifact_type: str,
    blobs: Iterable[tuple[str, bytes]] = (),
    *,
    subject: Manifest | None = None,
    annotations: Mapping[str, str] | None = None,
    config: tuple[str, bytes] | None = None,
) -> Manifest:
    """Put an artifact of (media type, bytes) blobs into the store; without blobs and config both are the empty one."""
    layers = [store.put_blob(data, media_type) for media_type, data in blobs]
    config_type, config_data = config or (mediatypes.OCI_EMPTY, EMPTY)
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": store.put_blob(config_data, config_type).to_json(),
        "layers": [layer.to_json() for layer in layers or [store.put_blob(EMPTY, mediatypes.OCI_EMPTY)]],
    }
    return _put(store, manifest, annotations, subject)


def _put(
    store: MemoryStore, document: dict[str, object], annotations: Mapping[str, str] | None, subject: Manifest | None
) -> Manifest:
    if subject:
        document["subject"] = subject.descriptor.to_json()
    if annotations:
        document["annotations"] = dict(annotations)
    return store.put_manifest(_json(document), str(document["mediaType"]))


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
