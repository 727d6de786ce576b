"""Uploads of blobs that survive a break. Source: distribution-spec 1.1, "Pushing blobs" and "Mounting a blob".

A blob is sent as docker and skopeo send it, in one stream, since some registries accept no chunks. After a break the session is
asked for its offset and resumed there; one that is gone is begun anew.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from urllib.parse import urlencode

import httpx

from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest, new_hasher
from oci.errors import (
    DigestInvalid,
    EntrepotError,
    RemoteCorrupt,
    RemoteError,
    RemoteNotFound,
    RemoteRefused,
    RemoteTokenEnded,
    RemoteUnauthorized,
    SizeInvalid,
)
from oci.remote.network.origin import follow_to
from oci.remote.responses import is_inconclusive
from oci.remote.transport import RemoteTransport

ReadFrom = Callable[[int], AsyncIterator[bytes]]
"""Gives a blob's bytes from an offset on, as often as it is called."""

_WHOLE = 4 * 1024 * 1024
"""A blob up to this size goes with the closing request."""

_FRUITLESS, _BREAKS = 5, 1000
"""A blob is given up after so many breaks without a new byte in between, and so many in all."""

_NO_PATCH = frozenset({400, 404, 405, 501})
"""Status codes of registries that accept a blob only with the closing request."""

_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


class _OutOfStepError(Exception):
    """The session does not go on from where we are: begin anew."""


class BlobUploads:
    """Uploads to one repository. `scope` is that of its pushes."""

    def __init__(self, transport: RemoteTransport, repository: str, scope: str) -> None:
        self._transport, self._scope = transport, scope
        self._blobs = f"/v2/{repository}/blobs"
        self._takes_patch = True

    async def mount(self, descriptor: Descriptor, source: str) -> httpx.URL | None:
        """Mount a blob from another repository of the registry: return None when it has it, else a session to upload."""
        query = urlencode({"mount": descriptor.digest, "from": source})
        scope = f"{self._scope} repository:{source}:pull"
        try:
            return await self._open(f"?{query}", scope)
        except (RemoteRefused, RemoteNotFound, RemoteUnauthorized):  # the other repository may not be ours to read
            return await self._begin()

    async def upload(
        self, descriptor: Descriptor, read: ReadFrom, *, session: httpx.URL | None = None, once: bool = False
    ) -> None:
        """Upload a blob, into a session if one is open already; with `once`, `read` can be called a single time.

        1. Open a session. 2. Send what it lacks. 3. Close it by the digest. After a break: is the blob there all the same, how
        far has the session come, go on. A session that was gone on with, and is refused then, is begun anew: what it has said of
        itself was wrong. Raises SizeInvalid or DigestInvalid where the bytes are not the descriptor's.
        """
        sending = _Sending(descriptor, read)
        offset, fruitless, is_renewed, quiet = 0, 0, False, 0.0
        for attempt in range(1, _BREAKS + 1):
            if session is None:  # 1
                session, offset = await self._begin(), 0
            before, at_once, started = sending.furthest, False, self._transport.clock()
            try:
                await self._send(descriptor, session, sending, offset)  # 2, 3
                return
            except (_OutOfStepError, RemoteNotFound) as error:
                broken: RemoteError = RemoteRefused(
                    f"does not accept blob {descriptor.digest}: {error}", registry=self._transport.host
                )
                session = None
            except RemoteRefused as error:
                await self._give_up_unless(offset > 0, session, error)
                broken, session = error, None
            except RemoteTokenEnded as error:
                await self._give_up_unless(not is_renewed, session, error)
                broken, is_renewed, at_once = error, True, True
            except RemoteError as error:
                await self._give_up_unless(error.retryable, session, error)
                broken = error
            except EntrepotError as error:
                await self._give_up_unless(False, session, error)
            fruitless = 0 if sending.furthest > before else fruitless + 1
            quiet = quiet + self._transport.clock() - started if fruitless else 0.0
            is_deaf = quiet >= self._transport.options.silence_timeout
            if once or fruitless == _FRUITLESS or attempt == _BREAKS or is_deaf:
                raise broken
            if not at_once:
                await self._transport.pause(fruitless, broken)
            if await self._is_there(descriptor.digest):
                return
            if session is not None:
                session, offset = await self._ask(session, sending) if self._takes_patch else (None, 0)

    async def _begin(self) -> httpx.URL:
        session = await self._open("", self._scope)
        assert session is not None
        return session

    async def _open(self, query: str, scope: str) -> httpx.URL | None:
        """Return the URL of the session; None where the registry mounted the blob."""
        opened = await self._transport.request(
            "POST", f"{self._blobs}/uploads/{query}", scope=scope, headers={"Content-Length": "0"}
        )
        if query and opened.status_code == 201:
            return None
        return self._location(opened, None)

    async def _send(self, descriptor: Descriptor, session: httpx.URL, sending: "_Sending", offset: int) -> None:
        """Send from the offset to the end, and close. A blob that is not small is closed by a request of its own, unless the
        registry takes bytes with the closing one alone. How far it says it has come is no reason to stop: the digest decides."""
        size, headers = descriptor.size, {"Content-Type": "application/octet-stream"}
        if size != UNKNOWN_SIZE:
            headers["Content-Length"] = str(size - offset)
        if offset:
            headers["Content-Range"] = f"{offset}-{size - 1}"
        if (size != UNKNOWN_SIZE and size <= _WHOLE) or not self._takes_patch:
            await self._stream("PUT", _closing(session, descriptor.digest), headers, sending, offset)
            return
        held = None
        if offset < size or size == UNKNOWN_SIZE:
            try:
                response = await self._stream("PATCH", str(session), headers, sending, offset)
            except (RemoteRefused, RemoteNotFound) as error:
                if offset or error.status not in _NO_PATCH:
                    raise
                self._takes_patch = False
                raise _OutOfStepError(error.message) from error
            session = self._location(response, session)
            held = _RANGE.fullmatch(response.headers.get("range", ""))
        try:
            await self._transport.request(
                "PUT", _closing(session, descriptor.digest), scope=self._scope, headers={"Content-Length": "0"}
            )
        except RemoteRefused as error:
            if held is None or int(held[1]) + 1 == size:
                raise
            raise _OutOfStepError(f"took {int(held[1]) + 1} of {size} bytes: {error.message}") from error

    async def _stream(
        self, method: str, url: str, headers: dict[str, str], sending: "_Sending", offset: int
    ) -> httpx.Response:
        async with (
            aclosing(self._paced(sending.content(offset))) as content,  # type: ignore[type-var]  # it can be closed
            self._transport.stream(method, url, scope=self._scope, headers=headers, content=content) as response,
        ):
            if response.status_code == 416:
                raise _OutOfStepError(f"does not accept bytes from {offset} on")
            return response

    async def _paced(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the chunks as fast as the remote's bandwidth allows."""
        async with aclosing(chunks) as open_chunks:  # type: ignore[type-var]  # an async generator can be closed
            async for chunk in open_chunks:
                await self._transport.passed(len(chunk), sent=True)
                yield chunk

    async def _ask(self, session: httpx.URL, sending: "_Sending") -> tuple[httpx.URL | None, int]:
        """Return the session and how many bytes it has; no session where it is gone, or has bytes that were not sent."""
        try:
            response = await self._transport.request("GET", str(session), scope=self._scope)
        except (RemoteNotFound, RemoteRefused):
            return None, 0
        if response.status_code not in (202, 204):
            return None, 0
        held = _RANGE.fullmatch(response.headers.get("range", ""))
        # An empty session says 0-0 too. One that has a single byte refuses the first byte again, and is begun anew.
        count = int(held[1]) + 1 if held and int(held[1]) else 0
        return (None, 0) if count > sending.furthest else (self._location(response, session), count)

    async def _is_there(self, digest: Digest) -> bool:
        try:
            await self._transport.request("HEAD", f"{self._blobs}/{digest}", scope=self._scope)
        except RemoteNotFound:
            return False
        except RemoteError as error:
            if not is_inconclusive(error):
                raise
            return False
        return True

    async def _give_up_unless(self, go_on: bool, session: httpx.URL | None, error: EntrepotError) -> None:
        """Unless it goes on, leave no session behind, and raise."""
        if go_on:
            return
        if session is not None:
            with suppress(RemoteError):
                await self._transport.request("DELETE", str(session), scope=self._scope)
        raise error

    def _location(self, response: httpx.Response, session: httpx.URL | None) -> httpx.URL:
        """Return the URL at which the session goes on."""
        location = response.headers.get("location")
        if not location:
            if session is None:
                raise RemoteCorrupt("opened an upload without saying where", registry=self._transport.host)
            return session
        return follow_to(response.request.url, location, registry=self._transport.host, what="wants the blob at")


def _closing(session: httpx.URL, digest: Digest) -> str:
    return f"{session}{'&' if session.query else '?'}{urlencode({'digest': digest})}"


class _Sending:
    """A blob's bytes on their way, hashed once however often parts of them are sent."""

    def __init__(self, descriptor: Descriptor, read: ReadFrom) -> None:
        self._descriptor, self._read = descriptor, read
        self._hasher = new_hasher(descriptor.digest.algorithm)
        self.furthest = 0
        """How many bytes have been read, and hashed, from the beginning on."""

    async def content(self, offset: int) -> AsyncIterator[bytes]:
        """Yield the bytes from an offset on; breaks off where they are not the descriptor's."""
        place, descriptor = offset, self._descriptor
        async with aclosing(self._read(offset)) as chunks:  # type: ignore[type-var]  # an async generator can be closed
            async for chunk in chunks:
                new = place + len(chunk) - self.furthest
                place += len(chunk)
                if descriptor.size != UNKNOWN_SIZE and place > descriptor.size:
                    raise SizeInvalid(f"expected {descriptor.size} bytes of {descriptor.digest}, got more")
                if new > 0:
                    self._hasher.update(chunk[-new:])
                    self.furthest = place
                yield chunk
        self._check(place)

    def _check(self, place: int) -> None:
        descriptor = self._descriptor
        if descriptor.size not in (UNKNOWN_SIZE, place):
            raise SizeInvalid(f"expected {descriptor.size} bytes of {descriptor.digest}, got {place}")
        found = Digest.from_hasher(descriptor.digest.algorithm, self._hasher)
        if found != descriptor.digest:
            raise DigestInvalid(f"expected {descriptor.digest}, but the {place} bytes are {found}")
