"""A Target that counts what goes through it, by the root it is copied for."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass, field

from flows.runs.progress import Progress
from oci import mediatypes
from oci.copy import Parts
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.manifest import Manifest
from oci.target import Target


@dataclass(frozen=True, slots=True)
class StagedManifest:
    """A manifest whose content is held: what the rules need of it."""

    descriptor: Descriptor
    subject: Digest | None
    manifests: tuple[Descriptor, ...] = field(default=())


@dataclass(slots=True)
class Meter:
    """Blobs and manifests written, and their bytes."""

    items: int = 0
    bytes: int = 0


meter: ContextVar[Meter] = ContextVar("meter")
"""Whom to charge: set in the task that copies a root, and inherited by the tasks that the copy starts."""


class MeteredTarget:
    """Passes everything on; notes the manifests written in `staged`. What several roots share is charged to the first."""

    def __init__(self, target: Target, progress: Progress, parts: Parts) -> None:
        self._target, self._progress, self._parts = target, progress, parts
        self.staged: dict[Digest, StagedManifest] = {}

    @property
    def name(self) -> str:
        """The name of the target behind."""
        return self._target.name

    async def has(self, descriptor: Descriptor) -> bool:
        """Ask the target behind."""
        return await self._target.has(descriptor)

    async def write_blob(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Write it behind; charge its bytes once they are verified."""
        count = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal count
            async for chunk in chunks:
                count += len(chunk)
                self._progress.moved += len(chunk)
                yield chunk

        async with aclosing(counted()) as passed:  # type: ignore[type-var]  # an async generator can be closed
            await self._target.write_blob(descriptor, passed)
        self._charge(count)

    async def write_manifest(self, manifest: Manifest) -> None:
        """Write it behind, charge it and note it."""
        await self._target.write_manifest(manifest)
        self.staged[manifest.digest] = staged_manifest(manifest, self._parts)
        self._progress.moved += manifest.size
        self._charge(manifest.size)

    async def write_tag(self, tag: str, manifest: Manifest) -> None:
        """Write it behind."""
        await self._target.write_tag(tag, manifest)

    @staticmethod
    def _charge(size: int) -> None:
        charged = meter.get()
        charged.items += 1
        charged.bytes += size


def staged_manifest(manifest: Manifest, parts_of: Parts) -> StagedManifest:
    """Return what the rules of a sync need of a manifest."""
    parts = tuple(part for _role, part in parts_of(manifest) if part.media_type in mediatypes.MANIFESTS)
    return StagedManifest(manifest.descriptor, manifest.subject.digest if manifest.subject else None, parts)
