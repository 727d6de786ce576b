"""A version here as the source of a push to a target that needs all of it: parts not here come from where it was synced."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from flows.push.context import PushContext, Route
from flows.push.source import PushSource
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, EntrepotError, ManifestUnknown, RemoteError
from oci.manifest import Manifest
from oci.remote.address import Remote
from oci.remote.repository import RemoteRepository

_T = TypeVar("_T")


async def upstreams_of(context: PushContext, route: Route, digest: Digest) -> tuple[Remote, ...]:
    """Return the upstreams from which the path's repository has had a manifest, the latest first."""
    uses = await asyncio.to_thread(context.catalog.maintenance.uses, digest)
    return tuple(remote for use in uses if use.repository == route.repository for remote in use.upstreams)


class WholeSource(PushSource):
    """Reads a version, and parts that are not in it from upstreams; these are not kept here."""

    def __init__(self, context: PushContext, route: Route, source: PushSource, origins: Sequence[Remote]) -> None:
        super().__init__(context.catalog, source.version, context.upstreams)
        self._context, self._route, self._origins = context, route, tuple(origins)

    def parts(self, manifest: Manifest) -> list[tuple[str, Descriptor]]:
        """Return all parts of a manifest; the size of a child is not known where an index may misstate it."""
        may_misstate = self._context.catalog.settings.may_misstate(self._route.repository)
        return [
            (role, replace(child, size=UNKNOWN_SIZE) if may_misstate and role == "manifest" else child)
            for role, child in manifest.children()
        ]

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest of the version, else of an upstream."""
        if descriptor.digest in self.version.manifests:
            return await super().read_manifest(descriptor)
        return await self._first(descriptor, lambda upstream: upstream.read_manifest(descriptor))

    async def read_blob(self, descriptor: Descriptor, start: int = 0) -> AsyncIterator[bytes]:
        """Yield a blob of the version, else of an upstream, from `start` on."""
        if descriptor.digest in self.version.blobs:
            chunks = super().read_blob(descriptor, start)
        else:
            upstream = await self._first(descriptor, lambda upstream: _check_offers(upstream, descriptor.digest))
            chunks = upstream.read_blob(descriptor, start)
        async with aclosing(chunks):  # type: ignore[type-var]  # an async generator can be closed
            async for chunk in chunks:
                yield chunk

    async def _first(self, descriptor: Descriptor, ask: Callable[[RemoteRepository], Awaitable[_T]]) -> _T:
        failure: EntrepotError | None = None
        for remote in self._origins:
            try:
                return await ask(await self._context.upstreams.repository(remote.repository_only()))
            except (RemoteError, BlobUnknown) as error:
                failure = failure or error
        raise failure or ManifestUnknown(f"{descriptor.digest} is not here, and its origin is not known")


async def _check_offers(upstream: RemoteRepository, digest: Digest) -> RemoteRepository:
    if not await upstream.offers(digest):
        raise BlobUnknown(f"blob {digest} is not at {upstream.name}")
    return upstream
