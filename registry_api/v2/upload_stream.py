"""The stream of a request's body into an upload session: a thread hashes and writes one batch while the next arrives."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from starlette.types import Receive

from catalog.blobs.uploads import UploadSession
from oci.digest import Digest
from oci.errors import BlobTooLarge, SizeInvalid
from registry_api.http.bodies import read_batches
from registry_api.http.threads import Threads


class UploadStream:
    """Holds a session for one request; leaving the context releases it, never while a thread still writes to it."""

    def __init__(self, session: UploadSession, threads: Threads) -> None:
        self.session, self._threads = session, threads
        self._pending: asyncio.Future[object] | None = None

    async def feed(self, receive: Receive, *, expected: int | None = None, limit: int | None = None) -> None:
        """Append the body; raise SizeInvalid when it has not `expected` bytes, BlobTooLarge when the session would have more
        than `limit`. Bytes that arrived stay, whatever is raised."""
        received, before = 0, self.session.offset
        async for batch in read_batches(receive):
            received += len(batch)
            if limit is not None and before + received > limit:
                await self._settle()
                raise BlobTooLarge(f"the blob exceeds the limit of {limit} bytes")
            if expected is not None and received > expected:
                raise SizeInvalid(f"the chunk was announced with {expected} bytes; more arrived")
            await self._settle()
            self._begin(self.session.write, batch)
        await self._settle()
        if expected is not None and received != expected:
            raise SizeInvalid(f"the chunk was announced with {expected} bytes; {received} arrived")

    async def finish(self, digest: Digest) -> None:
        """Make the session's bytes the blob of that digest; raise DigestInvalid, and the session is gone then."""
        self._begin(self.session.finish, digest)
        await self._settle()

    async def cancel(self) -> None:
        """Drop the session and its bytes."""
        self._begin(self.session.cancel)
        await self._settle()

    def _begin(self, call: Callable[..., object], *args: object) -> None:
        self._pending = asyncio.get_running_loop().run_in_executor(self._threads.files, call, *args)

    async def _settle(self) -> None:
        """Await the thread; being cancelled meanwhile leaves it at work, and `__exit__` to deal with it."""
        if self._pending is not None:
            await asyncio.shield(self._pending)
            self._pending = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pending is None or self._pending.done():
            self.session.close()
        else:
            self._pending.add_done_callback(self._close_late)

    def _close_late(self, done: asyncio.Future[object]) -> None:
        if not done.cancelled():
            done.exception()  # retrieved, so that it is not reported as lost
        self.session.close()
