"""Blobs fetched from upstream on request: stored and sent at the same time, once for all clients that wait.

Each repository uses its own sources, with their logins. Bytes that another repository has fetched are used once a source has
proved that it has the blob (catalog/commits/blob_rights.py). A running fetch of another repository is never shared, since it
proves nothing.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from catalog.blobs.origins import BlobSource, Policy
from catalog.blobs.threads import run_shielded
from catalog.blobs.uploads import UploadSession
from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.state.locks import open_locks
from catalog.versions.snapshot import Snapshot
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, DigestInvalid, EntrepotError, RemoteCorrupt, RemoteError, SizeInvalid
from oci.remote.network.hops import check_hops
from registry_api.fetch_locks import FetchLocks
from registry_api.http.threads import Threads

if TYPE_CHECKING:
    from oci.remote.repository import RemoteRepository

log = logging.getLogger("registry_api")
_P = ParamSpec("_P")
_T = TypeVar("_T")

WITHHELD = 64 * 1024
"""Bytes at a blob's end that are sent only after its digest is verified: a wrong blob is never sent whole."""

_FIRST_WRITE, _WRITE = 16 * 1024, 256 * 1024
"""Bytes that are worth a write at a blob's beginning, where they are sent soon, and of the largest piece."""

_ANY = 1
"""Bytes of the first piece where it is sent on before it is written: whatever comes first."""

_REQUEST_SENT = 0.001
"""Seconds after which a request to an upstream is on its way."""


class Fetch:
    """One blob that arrives: the fetching task reports progress, and clients wait for it in `until`."""

    def __init__(self, digest: Digest, size: int) -> None:
        self.digest, self.size = digest, size
        self._session, self._descriptor = "", -1
        self._arrived, self._users = 0, 1
        self._unwritten = b""
        self._done = False
        self._error: EntrepotError | None = None
        self._changed = asyncio.Event()

    # --- for the fetching task ---

    def begin(self, session: UploadSession) -> None:
        """Use the session's file, which bytes are about to arrive in, in place of an earlier source's unread one."""
        if session.id == self._session:
            return
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._session, self._descriptor, self._arrived = session.id, os.dup(session.fileno()), 0
        self._unwritten = b""

    @property
    def may_hand_on(self) -> bool:
        """Return whether a blob is large enough that its first bytes may be sent before it is whole."""
        return self.size > WITHHELD

    def hand_on(self, first: bytes) -> None:
        """Report the blob's first bytes, which are read from memory until `advance` reports them in the file."""
        self._unwritten = first
        self._arrived = len(first)
        self._notify()

    def advance(self, arrived: int) -> None:
        """Report the number of bytes in the file."""
        self._arrived, self._unwritten = arrived, b""
        self._notify()

    def end(self, error: EntrepotError | None = None) -> None:
        """Report that the blob is complete and verified, or that it failed."""
        self._done, self._error = error is None, error
        self._notify()
        self.leave()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # --- for waiting clients ---

    def unwritten(self, position: int, length: int) -> bytes:
        """Return up to `length` bytes that are not in the file yet; empty where the file has them."""
        return self._unwritten[position : position + length]

    async def begun(self) -> bool:
        """Wait until bytes may be read; return False when they are in the store already. Raise the fetch's error."""
        while not self._done and not self.readable:
            await self._wait()
        return self._descriptor >= 0

    async def until(self, position: int) -> int:
        """Wait for more than `position` bytes, and return how many may be sent; raise the fetch's error."""
        while self.readable <= position:
            await self._wait()
        return self.readable

    @property
    def readable(self) -> int:
        """Return how many bytes may be sent; of a blob of unknown size none before all are there."""
        return self.size if self._done else min(self._arrived, max(self.size - WITHHELD, 0))

    def measure(self, size: int) -> None:
        """Report the size of the complete blob."""
        self.size = size

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        await self._changed.wait()

    def enter(self) -> None:
        """Keep the file open until `leave`."""
        self._users += 1

    def leave(self) -> None:
        """Release the file."""
        self._users -= 1
        if self._users == 0 and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def fileno(self) -> int:
        """Return the descriptor of the file that fills."""
        return self._descriptor


class ArrivingBlob:
    """A blob that is being fetched, to be read as far as `until` allows."""

    def __init__(self, fetch: Fetch) -> None:
        self.size = fetch.size
        self.until: Callable[[int], Awaitable[int]] = fetch.until
        self._fetch: Fetch | None = fetch
        self._descriptor = fetch.fileno()
        fetch.enter()

    def fileno(self) -> int:
        """Return the descriptor of the file that fills."""
        return self._descriptor

    def unwritten(self, position: int, length: int) -> bytes:
        """Return up to `length` bytes that are not in the file yet; empty where the file has them."""
        return self._fetch.unwritten(position, length) if self._fetch else b""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes that are in the file."""
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        """Release the file."""
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.leave()


class Fetches:
    """The fetches of this process. One that has begun goes on when its clients leave, unless nothing is to be kept of it."""

    def __init__(self, catalog: Catalog, threads: Threads, upstreams: Upstreams) -> None:
        self._catalog, self._threads, self._upstreams = catalog, threads, upstreams
        self._running: dict[tuple[str, Digest], tuple[Fetch, asyncio.Task[None]]] = {}
        self._locks = FetchLocks(
            open_locks(catalog.settings.catalog_file.with_suffix(".fetches"), catalog.state, "fetch"), threads
        )

    async def open(
        self, digest: Digest, size: int, version: Snapshot, others: Iterable[Digest] = ()
    ) -> ArrivingBlob | None:
        """Fetch a blob for a version's repository, or join its running fetch; return None when the store's copy may be used by
        now. `others` may be requested next. `size` may be UNKNOWN_SIZE: then all has arrived on return.

        Raises BlobUnknown when there is no source, and a RemoteError when none of them gives it.
        """
        check_hops(version.repository)  # before joining a fetch that may be waiting for this very response
        key = (version.repository, digest)
        if key not in self._running:
            fetch = Fetch(digest, size)
            task = asyncio.create_task(self._run(fetch, version, others))
            self._running[key] = (fetch, task)
            task.add_done_callback(lambda _task: self._running.pop(key, None))
        fetch, _task = self._running[key]
        fetch.enter()
        try:
            return ArrivingBlob(fetch) if await fetch.begun() else None
        finally:
            fetch.leave()

    async def _run(self, fetch: Fetch, version: Snapshot, others: Iterable[Digest]) -> None:
        digest, repository = fetch.digest, version.repository
        try:
            sources = self._catalog.sources.remembered(version, digest)
            if not sources:
                sources = await self._threads.run(self._catalog.sources.find, version, digest, others)
            if not sources:
                raise BlobUnknown(f"blob {digest} is not held here, and has no source to fetch it from")
            async with self._locks.hold(repository, digest):
                if not await self._is_usable(version, digest, sources):
                    await self._fetch_from_any(fetch, sources, repository)
            fetch.end()
        except EntrepotError as error:
            log.warning("fetch failed digest=%s repository=%s error=%s", digest, repository, error)
            fetch.end(error)
        except BaseException:
            fetch.end(RemoteError(f"the fetch of blob {digest} was cancelled"))
            raise

    async def _is_usable(self, version: Snapshot, digest: Digest, sources: Sequence[BlobSource]) -> bool:
        """Return whether the blob is held and the repository may use it: by now, or since a source proves that it has it."""
        rights, repository = self._catalog.rights, version.repository
        if await self._look_up(rights.has_received, version, digest):
            return await self._look_up(self._catalog.content.size, digest) is not None
        if self._catalog.settings.read_only or await self._look_up(self._catalog.content.size, digest) is None:
            return False
        if await self._threads.run(rights.take_public, repository, digest):
            return True
        origins = await self._look_up(self._catalog.content.origins, digest)
        for source in sources if origins else ():
            if await (await self._upstreams.repository(source.remote)).proves(digest, origins):
                return await self._threads.run(rights.take_proven, repository, digest)
        return False

    async def _look_up(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call what asks the record of blobs: here where it is a file, else on a thread."""
        if not self._catalog.serving.is_shared:
            return call(*args, **kwargs)
        return await self._threads.run(call, *args, **kwargs)

    async def _fetch_from_any(self, fetch: Fetch, sources: Sequence[BlobSource], repository: str) -> None:
        """Try one source after the other; where one is interrupted, the next continues, and the hash covers what both send.

        A blob that proves to be wrong is fetched again only as long as no byte of it has been sent.
        """
        opening = asyncio.create_task(self._begin(repository, fetch.size))
        waiting = list(self._upstreams.in_order(sources))
        try:
            while waiting:
                source = waiting.pop(0)
                upstream = await self._upstreams.repository(source.remote)
                try:
                    await self._fetch(
                        fetch, upstream if not waiting else upstream.failing_fast(), source.policy, opening
                    )
                except RemoteCorrupt as error:
                    if upstream.report_corrupt(error, fetch.digest):
                        waiting.insert(0, source)
                    if not waiting or fetch.readable > 0:
                        raise
                    log.warning("fetch failed digest=%s remote=%s error=%s", fetch.digest, source.remote, error)
                    (await opening).cancel()
                    opening = asyncio.create_task(self._begin(repository, fetch.size))
                except RemoteError as error:
                    if not waiting:
                        raise
                    log.warning("fetch failed digest=%s remote=%s error=%s", fetch.digest, source.remote, error)
                else:
                    return
        finally:
            (await opening).cancel()

    async def _begin(self, repository: str, size: int) -> UploadSession:
        """Open a session while upstream responds, with room for the first piece, which is sent before it is written.

        Not sooner: a thread competes for the interpreter with what sends the request. Raises StorageFull.
        """
        await asyncio.sleep(_REQUEST_SENT)
        return await self._threads.run(self._catalog.uploads.begin, repository, max(0, min(size, _WRITE)))

    async def _fetch(
        self, fetch: Fetch, upstream: "RemoteRepository", policy: Policy, opening: "asyncio.Task[UploadSession]"
    ) -> None:
        """Fetch a blob from the session's offset to its end; raise a RemoteError."""
        blob = Descriptor("application/octet-stream", fetch.digest, fetch.size)
        start = (await opening).offset if opening.done() else 0
        try:
            async with aclosing(upstream.read_blob(blob, start)) as chunks:  # type: ignore[type-var]  # an async generator
                hands_on = start == 0 and fetch.may_hand_on
                async for piece in _in_pieces(chunks, _ANY if hands_on else _FIRST_WRITE):
                    session = await opening
                    fetch.begin(session)
                    if hands_on and session.offset == 0:
                        fetch.hand_on(piece)
                        await asyncio.sleep(0)  # clients send it before a thread competes with them for the interpreter
                    await run_shielded(session.write, piece, pool=self._threads.files)
                    fetch.advance(session.offset)
            session = await opening
            fetch.begin(session)
            size = None if fetch.size == UNKNOWN_SIZE else fetch.size
            if policy == "streamed" or self._catalog.settings.read_only:  # sent on, and not stored
                await run_shielded(session.verify, fetch.digest, size, pool=self._threads.files)
            else:
                # A source that sent only the end has not proved that it has the blob.
                origin = upstream.delivered_by(fetch.digest) if start == 0 else ""
                finish = partial(session.finish, fetch.digest, size, origin=origin)
                await run_shielded(finish, pool=self._threads.files)
                await self._threads.run(self._catalog.rights.note_taken, session.repository, fetch.digest)
            fetch.measure(session.offset)
        except (DigestInvalid, SizeInvalid) as error:
            raise RemoteCorrupt(f"sent another blob: {error}", registry=upstream.host) from error

    async def close(self) -> None:
        """Cancel what is running."""
        tasks = [task for _fetch, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._locks.close()


async def _in_pieces(chunks: AsyncIterator[bytes], first: int) -> AsyncIterator[bytes]:
    """Yield the same bytes in pieces, the first of `first` bytes or more, others worth a write and each twice as large."""
    pending, enough = bytearray(), first
    async for chunk in chunks:
        pending += chunk
        if len(pending) >= enough:
            yield bytes(pending)
            pending.clear()
            enough = min(max(enough * 2, _FIRST_WRITE), _WRITE)
    if pending:
        yield bytes(pending)
