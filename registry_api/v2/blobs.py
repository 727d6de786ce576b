"""Pulls of blobs. Source: distribution-spec, "Pulling blobs"; RFC 9110 for ranges."""

import asyncio
import logging
import os
from contextlib import closing, suppress
from functools import lru_cache

from starlette.types import Receive, Send

from catalog.blobs.local_store import BlobReader, name_of_digest
from catalog.versions.snapshot import Snapshot
from oci.descriptor import UNKNOWN_SIZE
from oci.digest import Digest
from oci.errors import BlobUnknown, EntrepotError, PullRefused, RangeInvalid, StorageCorrupt
from registry_api.context import Registry
from registry_api.http.conditional import is_unchanged, not_modified_headers
from registry_api.http.errors import error_response
from registry_api.http.extensions import SEND_FILE, SendFile
from registry_api.http.messages import Headers, RoutedRequest, Sendable, WholeResponse, empty_response, with_headers
from registry_api.http.offload import REDIRECT, offload_path
from registry_api.http.ranges import Span, parse_byte_range
from registry_api.http.threads import Threads
from registry_api.on_demand import ArrivingBlob

log = logging.getLogger("registry_api")

CHUNK = 256 * 1024
"""Bytes read and sent at a time: all that one download holds in memory, twice at most."""

_PROBE = bytearray(1)

WATCHED = 4 * 1024 * 1024
"""From this size on it is worth noticing that the client has gone, and copying by chunks that stay in the processor's cache is
faster than letting the system send pages that do not; below, it takes twice the time."""


async def head_blob(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond to HEAD; raise DigestInvalid, BlobUnknown or PullRefused.

    Clients ask before they push a blob, and give up if that is refused: to who may push here, what gates keep back is unknown.
    """
    digest = Digest.parse(request.reference)
    snapshot = await _version_of(registry, request)
    if registry.gates.active or registry.policy_gate.active:
        pushes = registry.may_push(request.caller, request.name)
        try:
            snapshot = await registry.pullable(request.name, snapshot, digest, request.user, is_pull=not pushes)
        except PullRefused:
            if pushes:
                raise BlobUnknown(
                    f"blob {digest} of {request.name} may not be pulled now; push it again to use it"
                ) from None
            raise
    size = await _size_of(registry, request, snapshot, digest)
    if request.user:  # a pusher relies on it being here still when the manifest arrives
        await _renew_lease(registry, request, snapshot, digest)
    if is_unchanged(request, digest):
        return WholeResponse(304, not_modified_headers(digest))
    if size == UNKNOWN_SIZE:
        with closing(await _open(registry, snapshot, digest, size)) as reader:
            size = reader.size
    return WholeResponse(200, _headers(digest, size))


async def get_blob(registry: Registry, request: RoutedRequest) -> Sendable:
    """Respond to GET of a whole blob or of one range of it; raise DigestInvalid, BlobUnknown, PullRefused or StorageCorrupt."""
    digest = Digest.parse(request.reference)
    snapshot = await registry.pullable(request.name, await _version_of(registry, request), digest, request.user)
    size = await _size_of(registry, request, snapshot, digest)
    if is_unchanged(request, digest):
        return WholeResponse(304, not_modified_headers(digest))
    reader: BlobReader | ArrivingBlob | None = None
    try:
        if size != UNKNOWN_SIZE:
            shape = _shape(request, digest, size)
            if registry.catalog.content.redirects and (location := await _redirect_url(registry, snapshot, digest)):
                return empty_response(307, (b"location", location), (b"docker-content-digest", digest))
        reader = await _open(registry, snapshot, digest, size)
        if reader.size != size:  # manifests state another
            size = reader.size
            shape = _shape(request, digest, size)
    except RangeInvalid as error:
        if reader is not None:
            reader.close()
        return error_response(error, (b"content-range", f"bytes */{size}"))
    if (path := offload_path(request)) is not None and _is_whole_file(reader):
        reader.close()
        return WholeResponse(200, _offload_headers(digest, path))
    return BlobResponse(*shape, reader, registry.threads, request)


def _is_whole_file(reader: BlobReader | ArrivingBlob) -> bool:
    """Return whether a blob is all here, in a file."""
    return not isinstance(reader, ArrivingBlob) and reader.fileno() >= 0


def _shape(request: RoutedRequest, digest: Digest, size: int) -> tuple[int, Headers, Span]:
    """Return status, headers and bytes of a response; raise RangeInvalid."""
    part = _requested_part(request, digest, size)
    if part is None:
        return 200, _headers(digest, size), Span(0, size - 1)
    return 206, _part_headers(digest, part, size), part


async def _version_of(registry: Registry, request: RoutedRequest) -> Snapshot:
    """Return the version that the path serves, an empty one where there is none yet."""
    cached = registry.catalog.serving.cached(request.name) or await registry.find_served(request.name)
    return cached or Snapshot(request.repository, 0)


async def _redirect_url(registry: Registry, snapshot: Snapshot, digest: Digest) -> str | None:
    """Return the URL where the store itself serves a blob that the repository may use; None where it does not."""
    if await registry.look_up(registry.catalog.rights.usable_size, snapshot, digest) is None:
        return None
    return await registry.threads.run(registry.catalog.content.url, digest)


async def _size_of(registry: Registry, request: RoutedRequest, snapshot: Snapshot, digest: Digest) -> int:
    """Return the size of a blob that this path serves the caller; raise BlobUnknown, even where other repositories hold it."""
    size = snapshot.blobs.get(digest) if digest not in snapshot.deferred else None
    if size is None and (
        digest in snapshot.blobs
        or registry.shows_leases(request.caller, request.name)
        or await _arrived_later(registry, snapshot, digest)
    ):
        size = await registry.look_up(registry.catalog.rights.size_told, snapshot, digest)
    if size is None:
        raise BlobUnknown(f"blob {digest} is not in {request.name}")
    return size


async def _arrived_later(registry: Registry, snapshot: Snapshot, digest: Digest) -> bool:
    """Return whether a sparse repository's version names a blob that arrived after it."""
    catalog, name = registry.catalog, snapshot.repository
    if not catalog.settings.is_sparse(name) or not await registry.look_up(catalog.content.linked, name, digest):
        return False
    parents = await registry.threads.run(catalog.offers.parents, name, digest)
    return not parents.isdisjoint(snapshot.manifests)


async def _renew_lease(registry: Registry, request: RoutedRequest, snapshot: Snapshot, digest: Digest) -> None:
    """Renew the lease of a blob that no version holds; raise BlobUnknown when garbage collection was quicker, and for a blob
    that was lost and has no source, so that the client pushes it."""
    catalog = registry.catalog
    if digest in snapshot.blobs:
        is_here = digest in snapshot.deferred or await registry.look_up(catalog.content.size, digest) is not None
        if not is_here and not await registry.threads.run(catalog.sources.find, snapshot, digest):
            raise BlobUnknown(f"blob {digest} was lost from {request.name}; push it again")
        return
    if not await registry.threads.run(catalog.content.lease, request.repository, digest):
        raise BlobUnknown(f"blob {digest} is not in {request.name}")


def _requested_part(request: RoutedRequest, digest: Digest, size: int) -> Span | None:
    header = request.header(b"range")
    if header is None:
        return None
    condition = request.header(b"if-range")
    if condition is not None and condition.decode("latin-1").strip() != f'"{digest}"':
        return None
    return parse_byte_range(header.decode("latin-1"), size)


async def _open(registry: Registry, snapshot: Snapshot, digest: Digest, size: int) -> BlobReader | ArrivingBlob:
    """Return an open blob: at once when its folder is in memory, else on a thread, since it may be read from disk or S3.

    A blob that is not held, or that the repository has not received yet, is fetched from the repository's own source.
    """
    catalog = registry.catalog
    is_received = digest not in snapshot.deferred or await registry.look_up(
        catalog.rights.has_received, snapshot, digest
    )
    if is_received and digest in registry.opened:
        with suppress(StorageCorrupt):
            return catalog.content.reopen(digest, size)
    if not is_received or await registry.look_up(catalog.content.size, digest) is None:
        arriving = await registry.fetches.open(digest, size, snapshot, snapshot.blobs)
        if arriving is not None:
            return arriving
    reader = await registry.threads.run(catalog.content.open, digest)
    if reader.fileno() >= 0:
        registry.opened.put(digest, None)
    return reader


@lru_cache(maxsize=4096)
def _headers(digest: Digest, size: int) -> Headers:
    """Return the headers of a blob; cached, as those of manifests are."""
    return tuple(
        with_headers(
            (b"content-type", "application/octet-stream"),
            (b"content-length", str(size)),
            (b"docker-content-digest", digest),
            (b"etag", f'"{digest}"'),
            (b"accept-ranges", "bytes"),
        )
    )


@lru_cache(maxsize=4096)
def _offload_headers(digest: Digest, path: str) -> Headers:
    """Return the headers by which a proxy sends the file of a blob, or the range of it that the client asks for."""
    return tuple(
        with_headers(
            (b"content-type", "application/octet-stream"),
            (b"content-length", "0"),
            (b"docker-content-digest", digest),
            (b"etag", f'"{digest}"'),
            (REDIRECT, f"{path}/{name_of_digest(digest)}"),
        )
    )


def _part_headers(digest: Digest, span: Span, size: int) -> Headers:
    return [*_headers(digest, span.length), (b"content-range", f"bytes {span.first}-{span.last}/{size}".encode())]


class BlobResponse:
    """A span of an open blob, sent in chunks; it closes the blob."""

    def __init__(
        self,
        status: int,
        headers: Headers,
        span: Span,
        reader: BlobReader | ArrivingBlob,
        threads: Threads,
        request: RoutedRequest,
    ) -> None:
        self._status, self._headers, self._reader, self._span = status, headers, reader, span
        self._threads, self._receive, self._scope = threads, request.receive, request.scope

    async def send(self, send: Send, *, head: bool) -> None:
        """Send it, as fast as the client takes it; stop when the client has gone."""
        with closing(self._reader):
            if not head and await self._sent_as_file():
                return
            await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
            if head or self._span.length == 0:
                await send({"type": "http.response.body", "body": b""})
            elif self._span.length < WATCHED:
                await self._send_span(send, None)
            else:
                gone = asyncio.create_task(_wait_until_gone(self._receive))
                try:
                    await self._send_span(send, gone)
                finally:
                    gone.cancel()

    async def _sent_as_file(self) -> bool:
        """Let the system send the file; return whether it could."""
        reader = self._reader
        send_file: SendFile | None = self._scope.get("extensions", {}).get(SEND_FILE)
        if send_file is None or isinstance(reader, ArrivingBlob) or reader.fileno() < 0:
            return False
        if not 0 < self._span.length < WATCHED:
            return False

        async def fetch(position: int, length: int) -> int:
            if is_in_memory(reader.fileno(), position, length):
                return length
            return len(await self._threads.run(read_from_disk, reader, position, min(length, CHUNK)))

        first, length = self._span.first, self._span.length
        return await send_file(self._status, self._headers, reader.fileno(), first, length, fetch)

    async def _send_span(self, send: Send, gone: "asyncio.Task[None] | None") -> None:
        position, end = self._span.first, self._span.last + 1
        while position < end and not (gone and gone.done()):
            length = min(CHUNK, end - position)
            if isinstance(self._reader, ArrivingBlob):
                try:
                    length = min(length, await self._reader.until(position) - position)
                except EntrepotError as error:  # too late for another status: the response ends early
                    log.warning("blob interrupted after=%d error=%s", position, error)
                    return
            chunk = await self._read(position, length)
            position += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": position < end})

    async def _read(self, position: int, length: int) -> bytes:
        """Read what is in memory at once, ours or the system's, and what must come from disk on a thread."""
        if isinstance(self._reader, ArrivingBlob) and (early := self._reader.unwritten(position, length)):
            return early
        chunk = read_if_in_memory(self._reader.fileno(), position, length)
        if not chunk:
            return await self._threads.run(read_from_disk, self._reader, position, length)
        return chunk


def read_if_in_memory(descriptor: int, position: int, length: int) -> bytes | None:
    """Return up to `length` bytes if that takes no disk, else None.

    They are read into memory that nobody has zeroed first, which preadv could not; it is a tenth of the time.
    """
    return os.pread(descriptor, length, position) if is_in_memory(descriptor, position, length) else None


def is_in_memory(descriptor: int, position: int, length: int) -> bool:
    """Return whether the page cache has the last of `length` bytes, so all of them most likely."""
    try:
        return bool(os.preadv(descriptor, [_PROBE], position + length - 1, os.RWF_NOWAIT))
    except OSError:  # EAGAIN: not in memory; EOPNOTSUPP: this file system cannot tell
        return False


def read_from_disk(reader: BlobReader | ArrivingBlob, position: int, length: int) -> bytes:
    """Return up to `length` bytes; raise StorageCorrupt where the file has ended too early."""
    chunk = reader.read_at(position, length)
    if not chunk:
        raise StorageCorrupt(f"a blob's file of {reader.size} bytes ends at byte {position}")
    return chunk


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
