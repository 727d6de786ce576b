"""One repository that lies in a folder: its tags and manifests, what is broken of it, and how it is read as a Source."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO

from oci import mediatypes
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, RemoteCorrupt, RemoteLeftOut, RemoteNotFound
from oci.folders.contained import ContainedFolder
from oci.manifest import MAX_BYTES, Manifest, parse_manifest, required_blobs

MAX_FAULTS = 1000
"""Faults of one repository that are kept; the others are counted."""

MAX_LISTED = 1_000_000
"""Manifests that the indexes of one repository may list in all; beyond, an index is taken for an attack."""

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BlobFolder:
    """Where the content of a folder lies: `parts_of` gives the path of a digest below `folder`.

    `origin` names the folder among those that have delivered a blob.
    """

    folder: ContainedFolder
    parts_of: Callable[[Digest], tuple[str, ...]]
    origin: str

    def size(self, digest: Digest) -> int | None:
        """Return the bytes of a blob; None where it is missing."""
        return self.folder.size(*self.parts_of(digest))

    def open(self, digest: Digest) -> IO[bytes]:
        """Open a blob; raise RemoteCorrupt where it is missing."""
        try:
            return self.folder.open(*self.parts_of(digest))
        except FileNotFoundError:
            raise RemoteCorrupt(f"{digest} is missing") from None

    def read_manifest(self, digest: Digest, media_type: str = "") -> Manifest:
        """Return a manifest whose bytes are its digest's; raise RemoteCorrupt.

        Without a `media_type`, its body says what it is.
        """
        try:
            raw = self.folder.read(*self.parts_of(digest), limit=MAX_BYTES)
        except FileNotFoundError:
            raise RemoteCorrupt(f"manifest {digest} is missing") from None
        found = Digest.of(raw, digest.algorithm)
        if found != digest:
            raise RemoteCorrupt(f"manifest {digest} is damaged: its {len(raw)} bytes are {found}")
        try:
            return parse_manifest(raw, media_type, algorithm=digest.algorithm)
        except EntrepotError as error:
            raise RemoteCorrupt(f"{digest} is no manifest: {error.message}") from None


@dataclass(frozen=True, slots=True)
class FolderManifest:
    """What is remembered of a manifest: its descriptor with its artifact type, its subject, and the manifests within."""

    descriptor: Descriptor
    subject: Digest | None = None
    manifests: tuple[Digest, ...] = ()


@dataclass(slots=True)
class Faults:
    """What is broken, by tag or digest; beyond MAX_FAULTS only the number is known."""

    reasons: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def add(self, name: str, reason: str) -> None:
        """Note a fault; the first one of a name counts."""
        if name not in self.reasons:
            self.count += 1
            if len(self.reasons) < MAX_FAULTS:
                self.reasons[name] = reason


@dataclass(frozen=True, slots=True)
class Links:
    """What a repository says it has, unread: where tags point, and its manifests, each with its media type where known."""

    tags: Mapping[str, Digest]
    manifests: Mapping[Digest, str]
    faults: Faults = field(default_factory=Faults)


@dataclass(frozen=True)
class FolderRepository:
    """One repository of a folder, as a Source that lists referrers. `blobs` are those that are there, with their sizes."""

    name: str
    store: BlobFolder
    tagged: Mapping[str, Digest]
    manifests: Mapping[Digest, FolderManifest]
    blobs: Mapping[Digest, int]
    faults: Faults

    @cached_property
    def _referrers(self) -> Mapping[Digest, Sequence[Descriptor]]:
        found: dict[Digest, list[Descriptor]] = {}
        for one in self.manifests.values():
            if one.subject is not None:
                found.setdefault(one.subject, []).append(one.descriptor)
        return found

    def untagged(self) -> tuple[Digest, ...]:
        """Return the manifests that come with no tag: no tag points to them, nor are they within another or refer to one."""
        within = {digest for one in self.manifests.values() for digest in one.manifests} | set(self.tagged.values())
        return tuple(
            digest
            for digest, one in self.manifests.items()
            if digest not in within and one.subject not in self.manifests
        )

    def reached(self, roots: Iterable[Digest]) -> set[Digest]:
        """Return the manifests that roots lead to: those within, and what refers to any of them."""
        found: set[Digest] = set()
        waiting = list(roots)
        while waiting:
            digest = waiting.pop()
            if digest not in found and digest in self.manifests:
                found.add(digest)
                waiting += [*self.manifests[digest].manifests, *(one.digest for one in self._referrers.get(digest, ()))]
        return found

    def lacking(self) -> int:
        """Return how many manifests are listed by indexes and are not in the repository."""
        listed = {digest for one in self.manifests.values() for digest in one.manifests}
        return len(listed - self.manifests.keys())

    # --- Source ---

    async def tags(self) -> AsyncIterator[str]:
        """Yield every tag, those that are broken too."""
        for tag in sorted({*self.tagged, *(name for name in self.faults.reasons if ":" not in name)}):
            yield tag

    async def resolve(self, reference: str) -> Descriptor:
        """Return what a tag or digest text points to; raise RemoteCorrupt for one that is broken, else RemoteNotFound."""
        if reason := self.faults.reasons.get(reference):
            raise RemoteCorrupt(reason)
        digest = self.tagged.get(reference, Digest(reference))
        if reason := self.faults.reasons.get(digest):
            raise RemoteCorrupt(reason)
        if digest not in self.manifests:
            raise RemoteNotFound(f"{self.name} has no {reference[:200]}")
        return self.manifests[digest].descriptor

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest, verified; raise RemoteLeftOut for one that the repository does not have."""
        digest = descriptor.digest
        if digest not in self.manifests and digest not in self.faults.reasons:
            raise RemoteLeftOut(f"{self.name} has no manifest {digest}")
        return await asyncio.to_thread(self.store.read_manifest, digest, descriptor.media_type)

    async def read_blob(self, descriptor: Descriptor, start: int = 0) -> AsyncIterator[bytes]:
        """Yield a blob's bytes from `start` on, which the reader verifies; raise RemoteCorrupt where it is missing."""
        with await asyncio.to_thread(self.store.open, descriptor.digest) as file:
            file.seek(start)
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject is `digest`."""
        return self._referrers.get(digest, ())

    # --- Proving ---

    async def proves(self, digest: Digest, origins: Collection[str]) -> bool:
        """Return whether the folder has delivered the blob before, and has it still."""
        if self.store.origin not in origins:
            return False
        with suppress(EntrepotError):
            return await asyncio.to_thread(self.store.size, digest) is not None
        return False

    def delivered_by(self, _digest: Digest) -> str:
        """Return the name of the folder."""
        return self.store.origin


def take_stock(name: str, store: BlobFolder, links: Links, *, follow: bool = False) -> FolderRepository:
    """Read the manifests that a repository links, and look whether their blobs are there with their sizes.

    With `follow`, the manifests within are the repository's too. What is missing or damaged is a fault, and raises nothing.
    Bytes of blobs are not read.
    """
    manifests: dict[Digest, FolderManifest] = {}
    blobs: dict[Digest, int] = {}
    faults, listed = links.faults, 0
    waiting = list(links.manifests.items())
    while waiting:
        digest, media_type = waiting.pop()
        if digest in manifests or digest in faults.reasons:
            continue
        try:
            manifest = store.read_manifest(digest, media_type)
            if listed + len(manifest.manifests) > MAX_LISTED:
                raise RemoteCorrupt(f"indexes of {name} list more than {MAX_LISTED} manifests")
            _check_blobs(store, manifest, blobs)
            listed += len(manifest.manifests)
        except EntrepotError as error:
            faults.add(digest, error.message)
            continue
        manifests[digest] = _remembered(manifest)
        if follow:
            waiting += [(child.digest, child.media_type) for child in manifest.manifests if _is_there(store, child)]
    for tag, digest in links.tags.items():
        if digest not in manifests:
            reason = faults.reasons.get(digest, f"points to {digest}, which the repository does not have")
            faults.add(tag, reason)
    tagged = {tag: digest for tag, digest in links.tags.items() if digest in manifests}
    return FolderRepository(name, store, tagged, manifests, blobs, faults)


def _check_blobs(store: BlobFolder, manifest: Manifest, blobs: dict[Digest, int]) -> None:
    """Add the blobs of a manifest; raise RemoteCorrupt where one is missing, or has another size than the manifest says."""
    for blob in required_blobs(manifest):
        found = blobs.get(blob.digest)
        if found is None:
            found = store.size(blob.digest)
        if found is None:
            raise RemoteCorrupt(f"blob {blob.digest} of manifest {manifest.digest} is missing")
        if blob.size not in (found, UNKNOWN_SIZE):
            raise RemoteCorrupt(
                f"blob {blob.digest} has {found} bytes, but manifest {manifest.digest} says {blob.size}"
            )
        blobs[blob.digest] = found


def _remembered(manifest: Manifest) -> FolderManifest:
    artifact_type = manifest.artifact_type or (manifest.config.media_type if manifest.config else "")
    return FolderManifest(
        Descriptor(manifest.media_type, manifest.digest, manifest.size, artifact_type),
        manifest.subject.digest if manifest.subject else None,
        tuple(_manifests_of(manifest.manifests)),
    )


def _manifests_of(children: Iterable[Descriptor]) -> Iterable[Digest]:
    return (child.digest for child in children if child.media_type in mediatypes.MANIFESTS)


def _is_there(store: BlobFolder, child: Descriptor) -> bool:
    """Return whether the manifest within is there; one that may not be read is looked at, so that its fault is told."""
    if child.media_type not in mediatypes.MANIFESTS:
        return False
    try:
        return store.size(child.digest) is not None
    except EntrepotError:
        return True
