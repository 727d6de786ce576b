"""The privacy of replicas: what was read with a login is private, unless upstream lets an anonymous client pull it too."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from catalog.remotes.clients import Upstreams
from flows.replicate.request import ReplicateRequest
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteNotFound, RemoteRefused, RemoteUnauthorized, RemoteUnusable
from oci.remote.discovery.discovery import Kind, Served, discover
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport

_REFUSALS = (RemoteUnauthorized, RemoteNotFound, RemoteRefused, RemoteCorrupt, RemoteUnusable)
"""Errors that give an anonymous client nothing. One that may pass, as of an upstream that is down, proves nothing."""


class Publicity:
    """Asks upstream as an anonymous client would, each path once and only where a login was used; an async context manager."""

    def __init__(self, request: ReplicateRequest, upstreams: Upstreams, kind: Kind) -> None:
        self._request, self._upstreams, self._kind = request, upstreams, kind
        self._stack = AsyncExitStack()
        self._transport: RemoteTransport | None = None
        self._listed: Mapping[str, Served] | None = None

    async def is_private(self, served: Served, digest: Digest | None) -> bool:
        """Return whether a path is private here; `digest` is a manifest that it serves, None where it serves none.

        Raises RemoteUnavailable and RemoteRateLimited: then nobody knows.
        """
        if served.private or self._request.privacy == "private":
            return True
        if self._request.privacy == "listed" or not await self._upstreams.identity(self._request.remote(served.path)):
            return False
        if self._kind == "entrepot":
            return not await self._is_listed(served.path)
        return not await self._is_pulled(served.path, digest)

    async def _is_listed(self, path: str) -> bool:
        """Return whether an Entrepôt lists the path to everybody; one request for all paths."""
        if self._listed is None:
            try:
                found = await discover(self._request.host, lambda _only_basic: self._connect(), kinds=("entrepot",))
            except _REFUSALS:
                self._listed = {}
            else:
                self._listed = {one.path: one for one in found.served}
        return path in self._listed and not self._listed[path].private

    async def _is_pulled(self, path: str, digest: Digest | None) -> bool:
        """Return whether anybody may pull the manifest, or where there is none list the tags."""
        if self._transport is None:
            self._transport = await self._stack.enter_async_context(await self._connect())
        repository = RemoteRepository(self._transport, self._request.remote(path).reference.repository)
        try:
            if digest is None:
                async for _tag in repository.tags():
                    break
            else:
                await repository.resolve(digest)
        except _REFUSALS:
            return False
        return True

    async def _connect(self) -> RemoteTransport:
        return await self._upstreams.new_transport(self._request.remote("name"), anonymous=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
