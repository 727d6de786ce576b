"""The stream of a request's body into an upload session: a thread hashes and writes one batch while the next arrives.

The last batch waits for what comes after it, so that a body that came whole costs one call on a thread: open, write, finish.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from starlette.types import Receive

from catalog.blobs.uploads import OpenUpload
from oci.digest import Digest
from oci.errors import BlobTooLarge, Conflict, SizeInvalid
from registry_api.http.bodies import BATCH, ClientGone, first_message, read_batches
from registry_api.http.errors import RequestStalled
from registry_api.http.threads import Threads

_BUSY_TRIES, _BUSY_PAUSE = 40, 0.05
"""Tries, and seconds between them, to take a session that another request still holds. A request whose connection broke releases
it within moments."""

_Step = Callable[[OpenUpload], object]


def _nothing(_session: OpenUpload) -> None:
    """Leave a session as it is."""


def _keep(session: OpenUpload) -> None:
    """Keep what a session has for other requests, and let go of it."""
    session.keep()


def _cancel(session: OpenUpload) -> None:
    """Drop a session."""
    session.cancel()


class UploadStream:
    """Holds a session for one request; leaving the context releases it, never while a thread still writes to it.

    `opening` begins or resumes the session, on a thread, with the first step. `admit` then raises what refuses the body. A
    session that would have more than `limit` bytes is dropped.
    """

    def __init__(
        self,
        opening: Callable[[], OpenUpload],
        threads: Threads,
        *,
        admit: _Step = _nothing,
        limit: int | None = None,
    ) -> None:
        self._opening, self._threads, self._admit, self._limit = opening, threads, admit, limit
        self.session: OpenUpload | None = None
        self._last: bytes = b""
        self._pending: asyncio.Future[object] | None = None

    async def feed(self, receive: Receive, *, expected: int | None = None) -> None:
        """Append the body; raise SizeInvalid when it has not `expected` bytes, BlobTooLarge when the session would have more
        than the limit. Bytes that arrived stay, whatever else is raised."""
        received = 0
        try:
            first, receive = await first_message(receive)
            if first.get("more_body"):
                await self._run()  # held from now on: no other request writes to it while this body arrives
            async for batch in read_batches(receive):
                received += len(batch)
                if expected is not None and received > expected:
                    await self._run(_keep)
                    raise SizeInvalid(f"the chunk was announced with {expected} bytes; more arrived")
                await self._settle()
                self._last = batch
                if len(batch) >= BATCH:
                    await self._write_on()
        except (ClientGone, RequestStalled):
            await self._run(_keep)
            raise
        if expected is not None and received != expected:
            await self._run(_keep)
            raise SizeInvalid(f"the chunk was announced with {expected} bytes; {received} arrived")

    async def finish(self, digest: Digest) -> None:
        """Make the session's bytes the blob of that digest; raise DigestInvalid, and the session is gone then."""
        await self._run(lambda session: session.finish(digest))

    async def keep(self) -> int:
        """Write what is left and release the session, so that it can be resumed; return its bytes."""
        await self._run(_keep)
        assert self.session is not None
        return self.session.offset

    async def cancel(self) -> None:
        """Drop the session and its bytes."""
        await self._run(_cancel)

    async def _write_on(self) -> None:
        """Write a batch while the next arrives; the first one waits for the session."""
        if self.session is None:
            await self._run()
        else:
            self._begin(_nothing)

    async def _run(self, step: _Step = _nothing) -> None:
        """Write what waits, take a step, and await both."""
        await self._settle()
        for _ in range(_BUSY_TRIES):
            try:
                self._begin(step)
                return await self._settle()
            except Conflict:
                if self.session is not None:
                    raise
            await asyncio.sleep(_BUSY_PAUSE)
        self._begin(step)
        return await self._settle()

    def _begin(self, step: _Step) -> None:
        self._pending = asyncio.get_running_loop().run_in_executor(self._threads.uploads, self._take, step)

    def _take(self, step: _Step) -> None:
        """Open the session, write what waits, take a step; on a thread."""
        if self.session is None:
            self.session = self._opening()
            self._admit(self.session)
        batch, self._last = self._last, b""
        if batch:
            if self._limit and self.session.offset + len(batch) > self._limit:
                self.session.cancel()
                raise BlobTooLarge(f"the blob exceeds the limit of {self._limit} bytes")
            self.session.write(batch)
        step(self.session)

    async def _settle(self) -> None:
        """Await the thread; being cancelled meanwhile leaves it at work, and `__exit__` to deal with it."""
        pending = self._pending
        if pending is None:
            return
        try:
            await asyncio.shield(pending)
        finally:
            if pending.done():
                self._pending = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pending is None or self._pending.done():
            self._close()
        else:
            self._pending.add_done_callback(self._close_late)

    def _close_late(self, done: asyncio.Future[object]) -> None:
        if not done.cancelled():
            done.exception()  # retrieved, so that it is not reported as lost
        self._close()

    def _close(self) -> None:
        if self.session is not None:
            self.session.close()
