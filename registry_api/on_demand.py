"""Blobs that are fetched from upstream when they are asked for: stored and sent on at the same time, once for all who wait.

Each repository asks its own sources, with their logins. What others have brought already is used once a source has proved that it
has the blob (catalog/commits/blob_rights.py); a fetch under way for another repository is never shared, for
nothing is proved by it.
"""

import asyncio
import fcntl
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

from catalog.blobs.origins import BlobSource, Policy
from catalog.blobs.threads import unbroken
from catalog.blobs.uploads import UploadSession
from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.versions.snapshot import Snapshot
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, DigestInvalid, EntrepotError, RemoteCorrupt, RemoteError, SizeInvalid
from oci.remote.network.hops import check_hops
from oci.remote.repository import RemoteRepository
from registry_api.http.threads import Threads

log = logging.getLogger("registry_api")

WITHHELD = 64 * 1024
"""Bytes at a blob's end that nobody gets before the digest is known to be right: a wrong blob is never sent whole."""

_FIRST_WRITE, _WRITE = 16 * 1024, 256 * 1024
"""Bytes of a blob's first piece, so that it is on its way soon, and of the largest."""

_LOOK_AGAIN = 0.2
"""Seconds between looks at whether another process of this installation has fetched the blob."""


class Fetch:
    """One blob on its way. It takes what `write` and `finish` say, and tells those who wait in `until`."""

    def __init__(self, digest: Digest, size: int) -> None:
        self.digest, self.size = digest, size
        self._session, self._descriptor = "", -1
        self._arrived, self._users = 0, 1
        self._done = False
        self._error: EntrepotError | None = None
        self._news = asyncio.Event()

    # --- for the one who fetches ---

    def begin(self, session: UploadSession) -> None:
        """Bytes are about to arrive in the session's file, in place of one that an earlier source has left unread."""
        if session.id == self._session:
            return
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._session, self._descriptor, self._arrived = session.id, os.dup(session.fileno()), 0

    def advance(self, arrived: int) -> None:
        """So many bytes are in the file."""
        self._arrived = arrived
        self._tell()

    def end(self, error: EntrepotError | None = None) -> None:
        """All is there and verified, or nothing more will come."""
        self._done, self._error = error is None, error
        self._tell()
        self.leave()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    # --- for those who wait ---

    async def begun(self) -> bool:
        """Wait until bytes may be read; False when they are in the store already. Raise what the fetch failed with."""
        while not self._done and not self.readable:
            await self._wait()
        return self._descriptor >= 0

    async def until(self, position: int) -> int:
        """Wait until there is more than `position` bytes, and return how many may be sent; raise what the fetch failed with."""
        while self.readable <= position:
            await self._wait()
        return self.readable

    @property
    def readable(self) -> int:
        """How many bytes may be sent on; of a blob of unknown size none before all are there."""
        return self.size if self._done else min(self._arrived, max(self.size - WITHHELD, 0))

    def measure(self, size: int) -> None:
        """All bytes are there, and they are so many."""
        self.size = size

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        await self._news.wait()

    def enter(self) -> None:
        """Keep the file open until `leave`."""
        self._users += 1

    def leave(self) -> None:
        """Let go of the file."""
        self._users -= 1
        if self._users == 0 and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def fileno(self) -> int:
        """The file that fills."""
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
        """The file that fills."""
        return self._descriptor

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes that have arrived."""
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        """Let go of the file."""
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            fetch.leave()


class Fetches:
    """The fetches of this process. One that has begun goes on when its clients leave, unless nothing is to be kept of it."""

    def __init__(self, catalog: Catalog, threads: Threads, upstreams: Upstreams) -> None:
        self._catalog, self._threads, self._upstreams = catalog, threads, upstreams
        self._running: dict[tuple[str, Digest], tuple[Fetch, asyncio.Task[None]]] = {}
        self._locks = _FetchLocks(catalog)

    async def open(
        self, digest: Digest, size: int, version: Snapshot, others: Iterable[Digest] = ()
    ) -> ArrivingBlob | None:
        """Fetch a blob for a version's repository, or join those who wait for it there; None when it may use what is in the
        store by now. `others` may be asked for next. `size` may be UNKNOWN_SIZE: then all has arrived on return.

        Raises BlobUnknown when there is no source, and a RemoteError when none of them gives it.
        """
        check_hops(version.repository)  # before joining a fetch that may be waiting for this very answer
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
                raise BlobUnknown(f"blob {digest} is not held here, and nothing says where it can be fetched")
            async with self._locks.hold(repository, digest):
                if not await self._is_usable(version, digest, sources):
                    await self._fetch_from_any(fetch, sources, repository)
            fetch.end()
        except EntrepotError as error:
            log.warning("fetch failed digest=%s repository=%s error=%s", digest, repository, error)
            fetch.end(error)
        except BaseException:
            fetch.end(RemoteError(f"the fetch of blob {digest} was broken off"))
            raise

    async def _is_usable(self, version: Snapshot, digest: Digest, sources: Sequence[BlobSource]) -> bool:
        """Whether the blob is held and the repository may use it by now, or gets to, for a source proves that it has it."""
        rights, repository = self._catalog.rights, version.repository
        if rights.has_received(version, digest):
            return self._catalog.content.size(digest) is not None
        if self._catalog.settings.read_only:
            return False
        if await self._threads.run(rights.take_public, repository, digest):
            return True
        origins = self._catalog.content.origins(digest)
        for source in sources if origins else ():
            if await (await self._upstreams.repository(source.remote)).proves(digest, origins):
                return await self._threads.run(rights.take_proven, repository, digest)
        return False

    async def _fetch_from_any(self, fetch: Fetch, sources: Sequence[BlobSource], repository: str) -> None:
        """Try one source after the other; where one breaks off, the next goes on, and the hash goes on over what both send.

        A blob that turns out to be wrong is fetched anew only as long as no byte of it has been sent on.
        """
        # While upstream is asked, a session is opened.
        opening = asyncio.create_task(self._threads.run(self._catalog.uploads.begin, repository))
        waiting = list(self._upstreams.in_order(sources))
        try:
            while waiting:
                source = waiting.pop(0)
                upstream = await self._upstreams.repository(source.remote)
                try:
                    await self._fetch(fetch, upstream if not waiting else upstream.fail_fast(), source.policy, opening)
                except RemoteCorrupt as error:
                    if upstream.report_corrupt(error, fetch.digest):
                        waiting.insert(0, source)
                    if not waiting or fetch.readable > 0:
                        raise
                    log.warning("fetch failed digest=%s remote=%s error=%s", fetch.digest, source.remote, error)
                    (await opening).cancel()
                    opening = asyncio.create_task(self._threads.run(self._catalog.uploads.begin, repository))
                except RemoteError as error:
                    if not waiting:
                        raise
                    log.warning("fetch failed digest=%s remote=%s error=%s", fetch.digest, source.remote, error)
                else:
                    return
        finally:
            (await opening).cancel()

    async def _fetch(
        self, fetch: Fetch, upstream: RemoteRepository, policy: Policy, opening: "asyncio.Task[UploadSession]"
    ) -> None:
        """Go on with a blob where the session ends, to its end; raise a RemoteError."""
        wanted = Descriptor("application/octet-stream", fetch.digest, fetch.size)
        start = (await opening).offset if opening.done() else 0
        try:
            async with aclosing(upstream.read_blob(wanted, start)) as chunks:  # type: ignore[type-var]  # an async generator
                async for piece in _in_pieces(chunks):
                    session = await opening
                    fetch.begin(session)
                    await unbroken(session.write, piece, pool=self._threads.files)
                    fetch.advance(session.offset)
            session = await opening
            fetch.begin(session)
            size = None if fetch.size == UNKNOWN_SIZE else fetch.size
            if policy == "streamed" or self._catalog.settings.read_only:  # passed through, and not kept
                await unbroken(session.verify, fetch.digest, size, pool=self._threads.files)
            else:
                # Who has sent the end of what another began has not shown that it has the blob.
                origin = upstream.delivered_by(fetch.digest) if start == 0 else ""
                finish = partial(session.finish, fetch.digest, size, origin=origin)
                await unbroken(finish, pool=self._threads.files)
                await self._threads.run(self._catalog.rights.note_taken, session.repository, fetch.digest)
            fetch.measure(session.offset)
        except (DigestInvalid, SizeInvalid) as error:
            raise RemoteCorrupt(f"sent another blob: {error}", registry=upstream.host) from error

    async def close(self) -> None:
        """Break off what is under way."""
        tasks = [task for _fetch, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._locks.close()


async def _in_pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces that are worth a write each, each twice as large as the one before."""
    pending, enough = bytearray(), _FIRST_WRITE
    async for chunk in chunks:
        pending += chunk
        if len(pending) >= enough:
            yield bytes(pending)
            pending.clear()
            enough = min(enough * 2, _WRITE)
    if pending:
        yield bytes(pending)


class _FetchLocks:
    """One fetch of a digest for a repository at a time among this installation's processes: a byte of a file stands for each.

    Another repository's does not wait for it: its upstream may be slower than it has to be.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._file = os.open(catalog.settings.catalog_file.with_suffix(".fetches"), os.O_RDWR | os.O_CREAT, 0o600)

    @asynccontextmanager
    async def hold(self, repository: str, digest: Digest) -> AsyncIterator[None]:
        """Hold the lock, waiting for other processes."""
        place = int(hashlib.sha256(f"{repository}@{digest}".encode()).hexdigest()[:15], 16)
        while not self._try_lock(place):  # noqa: ASYNC110  # other processes cannot set an event of ours
            await asyncio.sleep(_LOOK_AGAIN)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def _try_lock(self, place: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of all."""
        os.close(self._file)
