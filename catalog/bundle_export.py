"""Writing versions into a bundle; each blob once, however many versions hold it, and verified while it is read."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from catalog.blobs import BlobReader
from catalog.bundle_files import create_bundle, in_memory
from catalog.bundle_format import DOCUMENT, BundledVersion, Contents, blob_path, render_contents, render_index
from catalog.catalog import Catalog
from oci.digest import Digest, new_hasher
from oci.errors import InvalidInput, StorageCorrupt


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version to export: by default the latest; what version `since` holds is left out."""

    repository: str
    version: int | None = None
    since: int = 0


def collect(catalog: Catalog, wanted: Iterable[Wanted], *, now: datetime) -> Contents:
    """Say what the bundle will hold; raise NameUnknown, VersionUnknown, or InvalidInput for a repository named twice
    or one that lacks blobs."""
    versions: list[BundledVersion] = []
    blobs: dict[Digest, int] = {}
    for one in wanted:
        if any(found.repository == one.repository for found in versions):
            raise InvalidInput(f"{one.repository} is named twice; a bundle holds one version of each repository")
        snapshot, base = catalog.snapshot(one.repository, one.version), catalog.snapshot(one.repository, one.since)
        versions.append(BundledVersion(one.repository, snapshot.version, one.since, snapshot.tags, snapshot.manifests))
        blobs |= {digest: entry.size for digest, entry in snapshot.manifests.items() if digest not in base.manifests}
        added = {digest: size for digest, size in snapshot.blobs.items() if digest not in base.blobs}
        if left := catalog.content.missing(added):
            raise InvalidInput(
                f"{len(left)} blob(s) of {one.repository} version {snapshot.version} were left upstream and are not here: "
                "sync it with --policy immediate first"
            )
        blobs |= added
    return Contents(tuple(versions), blobs, now.isoformat())


def write_bundle(catalog: Catalog, contents: Contents, path: Path, on_bytes: Callable[[int], None]) -> None:
    """Write the bundle; `on_bytes` is told of bytes as they are read. Raises StorageCorrupt for a blob that is damaged here."""
    document, index = render_contents(contents), render_index(contents.versions, contents.blobs)
    with create_bundle(path) as bundle:
        for name, data in (
            (DOCUMENT, document),
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ("index.json", index),
        ):
            bundle.add(name, len(data), in_memory(data))
        for digest in sorted(contents.blobs):
            with catalog.content.open(digest) as reader:
                source = _Verified(digest, reader, on_bytes)
                bundle.add(blob_path(digest), reader.size, io.BufferedReader(source, 1024 * 1024))
                source.check()


class _Verified(io.RawIOBase):
    """A blob as a file, hashed as it is read."""

    def __init__(self, digest: Digest, reader: BlobReader, on_bytes: Callable[[int], None]) -> None:
        self._digest, self._reader, self._on_bytes = digest, reader, on_bytes
        self._hasher, self._offset = new_hasher(digest.algorithm), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # what BufferedReader hands over
        data = self._reader.read_at(self._offset, len(buffer))
        buffer[: len(data)] = data
        self._hasher.update(data)
        self._offset += len(data)
        self._on_bytes(len(data))
        return len(data)

    def check(self) -> None:
        """Raise StorageCorrupt where what was read is not the blob."""
        found = Digest.from_hasher(self._digest.algorithm, self._hasher)
        if found != self._digest:
            raise StorageCorrupt(
                f"blob {self._digest} is damaged in the store: its bytes are {found}; no bundle was made"
            )
