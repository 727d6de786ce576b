"""The one graph copy: children before parents, what the target has is skipped, every byte verified by the target."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import DigestInvalid, RemoteCorrupt, RemoteLeftOut, SizeInvalid
from oci.manifest import Manifest
from oci.target import CorruptionAware, Source, Target

MAX_DEPTH = 16
"""How deep indexes may nest; deeper nesting is treated as an attack."""


Parts = Callable[[Manifest], Iterable[tuple[str, Descriptor]]]
"""Gives the parts of a manifest, each with its role."""


MayLack = Callable[[Descriptor, RemoteLeftOut], bool]
"""Returns whether a graph is copied without a child that the source lacks."""


Transfer = Callable[[Descriptor], Awaitable[None]]
"""Moves one blob that the target lacks."""


@dataclass(slots=True)
class CopyReport:
    """Counts of what a copy moved and what it found in place; `moved_bytes` counts blobs and manifests written."""

    moved: int = 0
    moved_bytes: int = 0
    skipped: int = 0
    manifests: dict[Digest, Manifest] = field(default_factory=dict)

    def count(self, size: int) -> None:
        """Add one written item of `size` bytes."""
        self.moved += 1
        self.moved_bytes += max(size, 0)


class GraphCopier:
    """Copies graphs between one source and one target; each digest once, `concurrency` transfers at a time.

    One copier serves a whole batch of roots, so that what they share is looked at once. Use it within one event loop.
    `parts` says which parts of a manifest are copied, all by default; `transfer` moves blobs in another way than by reading the
    source once from end to end and writing that; `may_lack` decides about children that the source lacks.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        *,
        concurrency: int = 8,
        parts: Parts = Manifest.children,
        transfer: Transfer | None = None,
        may_lack: MayLack = lambda _child, _error: False,
    ) -> None:
        self._source, self._target, self._parts, self._may_lack = source, target, parts, may_lack
        self._transfer = transfer or self._read_and_write
        self._slots = asyncio.Semaphore(concurrency)
        self._begun: dict[Digest, asyncio.Task[None]] = {}
        self.report = CopyReport()

    async def copy(self, root: Descriptor) -> None:
        """Copy all that `root` needs, then `root`; the error of the first part that fails is raised."""
        await self._once(root, self._copy_node, depth=0)

    async def close(self) -> None:
        """End what is still under way, after an error."""
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)

    async def _once(
        self, descriptor: Descriptor, act: Callable[[Descriptor, int], Awaitable[None]], *, depth: int
    ) -> None:
        task = self._begun.get(descriptor.digest)
        if task is None:
            task = asyncio.ensure_future(act(descriptor, depth))
            self._begun[descriptor.digest] = task
        await asyncio.shield(task)

    async def _copy_node(self, descriptor: Descriptor, depth: int) -> None:
        if descriptor.media_type in mediatypes.MANIFESTS:
            await self._copy_manifest(descriptor, depth)
        else:
            await self._copy_blob(descriptor, depth)

    async def _copy_manifest(self, descriptor: Descriptor, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise RemoteCorrupt(
                f"{descriptor.digest} nests indexes deeper than {MAX_DEPTH}", registry=self._source.name
            )
        async with self._slots:
            if await self._target.has(descriptor):
                self.report.skipped += 1
                return
            try:
                manifest = await self._source.read_manifest(descriptor)
            except RemoteLeftOut as error:
                if depth and self._may_lack(descriptor, error):
                    return
                raise
        parts = [
            (
                child,
                self._copy_manifest
                if role == "manifest" and child.media_type in mediatypes.MANIFESTS
                else self._copy_blob,
            )
            for role, child in self._parts(manifest)
            if not mediatypes.is_nondistributable(child.media_type)
        ]
        await asyncio.gather(*(self._once(child, act, depth=depth + 1) for child, act in parts))
        async with self._slots:
            await self._target.write_manifest(manifest)
        self.report.manifests[manifest.digest] = manifest
        self.report.count(manifest.size)

    async def _copy_blob(self, descriptor: Descriptor, _depth: int) -> None:
        async with self._slots:
            if await self._target.has(descriptor):
                self.report.skipped += 1
                return
            while not await self._moved(descriptor):
                pass
        self.report.count(descriptor.size)

    async def _moved(self, descriptor: Descriptor) -> bool:
        """Move a blob; False when other bytes came, and there is another place to try."""
        try:
            await self._transfer(descriptor)
        except (DigestInvalid, SizeInvalid) as error:
            wrong = RemoteCorrupt(f"sent a blob that is not its descriptor's: {error}", registry=self._source.name)
            if isinstance(self._source, CorruptionAware) and self._source.report_corrupt(wrong, descriptor.digest):
                return False
            raise wrong from error
        return True

    async def _read_and_write(self, descriptor: Descriptor) -> None:
        async with aclosing(self._source.read_blob(descriptor)) as chunks:  # type: ignore[type-var]
            await self._target.write_blob(descriptor, chunks)


async def copy_graph(source: Source, target: Target, root: Descriptor, *, concurrency: int = 8) -> CopyReport:
    """Copy `root` and all its parts; return what was moved. Raises the first failure, with nothing left running."""
    copier = GraphCopier(source, target, concurrency=concurrency)
    try:
        await copier.copy(root)
    finally:
        await copier.close()
    return copier.report
