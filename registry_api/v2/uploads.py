"""Upload sessions; all state is in the path, since some clients drop queries. Source: distribution-spec, "Pushing blobs"."""

import asyncio
from functools import partial

from catalog.access.policy import Caller
from catalog.blobs.uploads import UploadSession
from catalog.path_patterns import matches
from oci.digest import Digest, check_algorithm
from oci.errors import (
    BlobTooLarge,
    BlobUnknown,
    Conflict,
    DigestInvalid,
    EntrepotError,
    NameInvalid,
    RangeInvalid,
    SizeInvalid,
    TooManyRequests,
)
from oci.reference import parse_name
from registry_api.auth.access_controller import is_administrator
from registry_api.context import Registry
from registry_api.http.bodies import ClientGone
from registry_api.http.errors import error_response
from registry_api.http.messages import RoutedRequest, WholeResponse, empty_response
from registry_api.http.ranges import parse_chunk, upload_progress
from registry_api.v2.upload_stream import UploadStream

_BUSY_TRIES, _BUSY_PAUSE = 40, 0.05
"""Tries, and seconds between them, to take a session that another request still holds. A request whose connection broke releases
it within moments."""


async def post_upload(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Mount a blob, store a whole one, or open a session; a mount that cannot be made opens a session too.

    Raises DigestInvalid for an algorithm that is not known (distribution-spec, development head: `digest-algorithm`).
    """
    algorithm = request.parameter("digest-algorithm")
    if algorithm is not None:
        check_algorithm(algorithm)
    mount = request.parameter("mount")
    if mount is not None:
        digest = Digest.parse(mount)
        if await _mount(registry, request, digest):
            return _created(request.name, digest)
    whole = request.parameter("digest")
    if whole is not None:
        return await _upload_whole(registry, request, Digest.parse(whole))
    await _check_open_sessions(registry, request.repository)
    await _check_quota(registry, request, 0)
    session = await registry.threads.run(registry.catalog.uploads.begin, request.repository)
    session.close()
    return _progress(202, request, session)


async def _mount(registry: Registry, request: RoutedRequest, digest: Digest) -> bool:
    """Link a blob that another repository holds; return False when that is impossible, for whatever reason."""
    if not await _may_be_mounted(registry, request, digest):
        return False
    try:
        await registry.threads.run(registry.catalog.content.link, request.repository, digest)
    except BlobUnknown:
        return False
    return True


async def _may_be_mounted(registry: Registry, request: RoutedRequest, digest: Digest) -> bool:
    source = request.parameter("from")
    if source is None:
        return await _is_readable_somewhere(registry, request.caller.unscoped, digest)
    try:
        name = parse_name(source)
    except NameInvalid:
        return False
    distribution = await registry.find_distribution(name)
    if not await registry.may_pull(request.caller, name):
        return False
    snapshot = await registry.find_served(name)
    repository = distribution.repository if distribution else name
    return registry.is_given(request.caller, name, repository, snapshot, digest)


async def _is_readable_somewhere(registry: Registry, caller: Caller, digest: Digest) -> bool:
    """Return whether a path that the caller may pull from has the blob; only versions in memory count.

    The steps are the same whether the blob is absent or others hold it, so that the time reveals nothing.
    """
    catalog = registry.catalog
    leased = await registry.threads.run(catalog.content.linked_anywhere, digest)
    if is_administrator(registry.access.store.policy, caller):
        return True
    for served in catalog.distributions.all():
        if registry.access.may_pull(caller, served):
            snapshot = catalog.serving.cached(served.path)
            if (snapshot is not None and digest in snapshot.blobs and digest not in snapshot.deferred) or (
                served.repository in leased and registry.shows_leases(caller, served.path)
            ):
                return True
    return False


async def _check_open_sessions(registry: Registry, repository: str) -> None:
    limit = registry.catalog.settings.max_uploads
    if limit and await registry.threads.run(registry.catalog.uploads.count, repository) >= limit:
        raise TooManyRequests(
            f"{repository} has {limit} open uploads, the limit; finish or cancel one", retry_after=10.0
        )


async def _upload_whole(registry: Registry, request: RoutedRequest, digest: Digest) -> WholeResponse:
    """Store a blob with one request; nothing stays of an interrupted one, since no client knows its session."""
    await _check_quota(registry, request, request.content_length or 0)
    with UploadStream(
        await registry.threads.run(registry.catalog.uploads.begin, request.repository), registry.threads
    ) as stream:
        try:
            await _feed(registry, stream, request)
        except (ClientGone, EntrepotError):
            await stream.cancel()
            raise
        await stream.finish(digest)
    return _created(request.name, digest)


async def patch_upload(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Append a chunk, or a stream of any length when there is no Content-Range."""
    with UploadStream(await _resume(registry, request), registry.threads) as stream:
        try:
            await _append_chunk(registry, stream, request)
        except RangeInvalid as error:
            return _out_of_order(request, stream.session, error)
        return _progress(202, request, stream.session)


async def put_upload(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Append the last chunk, if there is one, and close the session; raise DigestInvalid."""
    parameter = request.parameter("digest")
    if parameter is None:
        raise DigestInvalid("missing parameter digest: it closes the upload")
    digest = Digest.parse(parameter)
    with UploadStream(await _resume(registry, request), registry.threads) as stream:
        try:
            await _append_chunk(registry, stream, request)
        except RangeInvalid as error:
            return _out_of_order(request, stream.session, error)
        await stream.finish(digest)
    return _created(request.name, digest)


async def get_upload(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond with the progress of a session."""
    with await _resume(registry, request) as session:
        return _progress(204, request, session)


async def delete_upload(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Cancel a session."""
    with UploadStream(await _resume(registry, request), registry.threads) as stream:
        await stream.cancel()
    return empty_response(204)


async def _resume(registry: Registry, request: RoutedRequest) -> UploadSession:
    """Return a session, held; raise UploadUnknown, or Conflict when another request holds it."""
    uploads = registry.catalog.uploads
    for _ in range(_BUSY_TRIES):
        try:
            return await registry.threads.run(uploads.resume, request.repository, request.reference)
        except Conflict:
            await asyncio.sleep(_BUSY_PAUSE)
    return await registry.threads.run(uploads.resume, request.repository, request.reference)


async def _append_chunk(registry: Registry, stream: UploadStream, request: RoutedRequest) -> None:
    """Append the body; raise RangeInvalid when it does not start where the session ends, SizeInvalid for a wrong length."""
    header = request.header(b"content-range")
    if header is None:
        await _feed(registry, stream, request)
        return
    chunk = parse_chunk(header.decode("latin-1"))
    if chunk.first != stream.session.offset:
        raise RangeInvalid(
            f"the chunk starts at byte {chunk.first}, but the session has {stream.session.offset}",
            detail={"offset": stream.session.offset},
        )
    announced = request.content_length
    if announced is not None and announced != chunk.length:
        raise SizeInvalid(f"Content-Range announces {chunk.length} bytes, Content-Length {announced}")
    await _feed(registry, stream, request, expected=chunk.length)


async def _feed(
    registry: Registry, stream: UploadStream, request: RoutedRequest, *, expected: int | None = None
) -> None:
    """Append the body; raise BlobTooLarge, and drop the session, when the blob is above the limit of the settings; raise
    QuotaExceeded when what is announced does not fit."""
    if request.content_length:
        await _check_quota(registry, request, request.content_length)
    limit = registry.catalog.settings.max_blob_size
    announced = request.content_length
    if not limit:
        await stream.feed(request.receive, expected=expected)
        return
    try:
        if announced is not None and stream.session.offset + announced > limit:
            raise BlobTooLarge(f"the blob exceeds the limit of {limit} bytes")
        await stream.feed(request.receive, expected=expected, limit=limit)
    except BlobTooLarge:
        await stream.cancel()
        raise


async def _check_quota(registry: Registry, request: RoutedRequest, announced: int) -> None:
    """Raise QuotaExceeded when the namespace is full, or when so many bytes more are not to fit beside other open uploads.

    That is early advice; what counts is checked when the manifest comes."""
    quotas, uploads = registry.catalog.quotas, registry.catalog.uploads
    if quotas.covering(request.repository):

        def under_way(pattern: str) -> int:
            return uploads.bytes_open(lambda name: matches(pattern, name))

        check = partial(quotas.check_room, request.repository, size=max(announced, 1), under_way=under_way)
        await registry.threads.run(check)


def _location(request: RoutedRequest, session: UploadSession) -> str:
    """Relative, so that it holds behind whatever proxy the client sees."""
    return f"/v2/{request.name}/blobs/uploads/{session.id}"


def _progress(status: int, request: RoutedRequest, session: UploadSession) -> WholeResponse:
    return empty_response(
        status,
        (b"location", _location(request, session)),
        (b"range", upload_progress(session.offset)),
        (b"docker-upload-uuid", session.id),
    )


def _out_of_order(request: RoutedRequest, session: UploadSession, error: RangeInvalid) -> WholeResponse:
    """Return the refusal of a chunk; the session stays, and the headers say where to continue."""
    return error_response(
        error,
        (b"location", _location(request, session)),
        (b"range", upload_progress(session.offset)),
        (b"docker-upload-uuid", session.id),
    )


def _created(name: str, digest: Digest) -> WholeResponse:
    return empty_response(201, (b"location", f"/v2/{name}/blobs/{digest}"), (b"docker-content-digest", digest))
