"""The two ends of a copy: a repository of a registry, or an image layout, to read from and to write into."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

from catalog.remotes.clients import Upstreams
from flows.copy.narrowed import CopySource
from flows.copy.request import CopyPlace
from flows.push.target import Neighbours, PushTarget, Rereadable, charge
from flows.runs.progress import Progress
from oci.copy import Transfer
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import ManifestUnknown, NotFound, RemoteError, RemoteNotFound, RemoteUnauthorized
from oci.folders.image_layouts import open_layout
from oci.layout import Layout
from oci.manifest import Manifest
from oci.remote.referrers_tag import list_referrers, referrer_entry
from oci.remote.repository import RemoteRepository
from oci.target import Target


class CopyTarget(Target, Protocol):
    """A Target that is asked what it has, and is told of referrers. In a dry run it is asked alone."""

    mounted: int

    async def find(self, tag: str) -> Digest | None:
        """Return where a tag points there; None for nowhere."""
        ...

    async def referring(self, subject: Digest, /) -> set[Digest]:
        """Return what is listed there as referring to a manifest."""
        ...

    async def add_referrers(self, subject: Digest, /, referrers: Sequence[Manifest]) -> None:
        """List referrers that were written, where the target does not by itself."""
        ...

    async def keep(self, manifest: Manifest) -> None:
        """Keep a manifest that was written and gets no tag."""
        ...

    def transfer_from(self, source: Rereadable) -> Transfer:
        """Return what moves a blob that the target lacks."""
        ...

    def note_parts(self, source: CopySource, manifest: Manifest) -> None:
        """Note that the source has the parts of a manifest."""
        ...


class RegistryTarget(PushTarget):
    """A repository of another registry; what the source has at the same registry is mounted from there."""

    def __init__(self, remote: RemoteRepository, progress: Progress, *, dry_run: bool) -> None:
        self._known = Neighbours()
        super().__init__(remote, self._known, progress, dry_run=dry_run)
        self._target, self._is_dry = remote, dry_run

    async def find(self, tag: str) -> Digest | None:
        """Ask where a tag points; a repository that is not there yet has none."""
        try:
            return (await self._target.resolve(tag)).digest
        except RemoteNotFound:
            return None

    async def referring(self, subject: Digest, /) -> set[Digest]:
        """Ask what refers to a manifest; a list that is refused counts as empty."""
        try:
            return {one.digest for one in await self._target.referrers(subject)}
        except RemoteUnauthorized as error:
            if error.status != 403:
                raise
            return set()

    async def add_referrers(self, subject: Digest, /, referrers: Sequence[Manifest]) -> None:
        """Extend the list under the fallback tag, where the registry has no list of its own, or the referrer names no subject."""
        unlisted = [
            one
            for one in referrers
            if not self._target.has_referrers_api or one.subject is None or one.subject.digest != subject
        ]
        if unlisted and not self._is_dry:
            await list_referrers(self._target, subject, list(map(referrer_entry, unlisted)), where=self._target.host)

    async def keep(self, manifest: Manifest) -> None:
        """Do nothing: the registry has it under its digest."""

    def note_parts(self, source: CopySource, manifest: Manifest) -> None:
        """Remember the parts that can be mounted: those of another repository of this registry."""
        host, _slash, repository = source.name.partition("/")
        if host == self._target.host and repository != self._target.repository:
            for _role, part in manifest.children():
                self._known.add(repository, part.digest)


class LayoutTarget:
    """An image layout, which is made when it is first written to; its index.json lists tags, and manifests without one."""

    def __init__(self, path: Path, progress: Progress, *, dry_run: bool) -> None:
        self._path, self._progress, self._is_dry = path, progress, dry_run
        self._layout = Layout.open(path) if (path / "oci-layout").exists() else None
        self._writing = asyncio.Lock()
        self.mounted = 0

    @property
    def name(self) -> str:
        """The folder."""
        return str(self._path)

    async def _made(self) -> Layout:
        async with self._writing:
            if self._layout is None:
                self._layout = await asyncio.to_thread(Layout.create, self._path)
            return self._layout

    async def find(self, tag: str) -> Digest | None:
        """Return where a tag points."""
        try:
            return (await self._layout.resolve(tag)).digest if self._layout else None
        except ManifestUnknown:
            return None

    async def has(self, descriptor: Descriptor) -> bool:
        """Return whether the content is there with its size."""
        return self._layout is not None and await self._layout.has(descriptor)

    def transfer_from(self, source: Rereadable) -> Transfer:
        """Moves a blob that the layout lacks."""

        async def transfer(descriptor: Descriptor) -> None:
            async def read() -> AsyncIterator[bytes]:
                async for chunk in source.read_blob(descriptor, 0):
                    self._progress.count_bytes(len(chunk))
                    yield chunk

            if not self._is_dry:
                async with aclosing(read()) as chunks:  # type: ignore[type-var]  # an async generator can be closed
                    await self.write_blob(descriptor, chunks)
            charge(descriptor.size)

        return transfer

    async def write_blob(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Keep a blob, verified."""
        await (await self._made()).write_blob(descriptor, chunks)

    async def write_manifest(self, manifest: Manifest) -> None:
        """Keep a manifest."""
        if not self._is_dry:
            await (await self._made()).write_manifest(manifest)
        charge(manifest.size)

    async def write_tag(self, tag: str, manifest: Manifest) -> None:
        """Name a manifest in index.json, one after the other."""
        layout = await self._made()
        async with self._writing:
            await layout.write_tag(tag, manifest)

    async def referring(self, _subject: Digest, /) -> set[Digest]:
        """Return none: a referrer that is there already is not written again."""
        return set()

    async def add_referrers(self, _subject: Digest, /, referrers: Sequence[Manifest]) -> None:
        """List referrers in index.json without a name."""
        if not self._is_dry:
            layout = await self._made()
            async with self._writing:
                await layout.list_untagged(referrers)

    async def keep(self, manifest: Manifest) -> None:
        """List a manifest in index.json without a name."""
        await self.add_referrers(manifest.digest, [manifest])

    def note_parts(self, source: CopySource, manifest: Manifest) -> None:
        """Note nothing: a layout has nothing to mount."""


async def open_source(place: CopyPlace, upstreams: Upstreams) -> CopySource:
    """Return what is read from; raise LayoutInvalid or RemoteCorrupt for a folder that is no layout."""
    if place.remote is not None:
        return await upstreams.repository(place.remote)
    assert place.layout is not None
    return await asyncio.to_thread(open_layout, place.layout)


async def open_target(place: CopyPlace, upstreams: Upstreams, progress: Progress, *, dry_run: bool) -> CopyTarget:
    """Return what is written into."""
    if place.remote is not None:
        remote = await upstreams.repository(place.remote, for_push=True)
        return RegistryTarget(remote, progress, dry_run=dry_run)
    assert place.layout is not None
    return LayoutTarget(place.layout, progress, dry_run=dry_run)


_ABSENT = (NotFound, RemoteNotFound)


async def resolve_if_there(source: CopySource, tag: str) -> Descriptor | None:
    """Return what a tag points to; None for nothing, or where it is refused."""
    try:
        return await source.resolve(tag)
    except _ABSENT:
        return None
    except RemoteError as error:
        if error.status in (400, 401, 403):
            return None
        raise
