"""Upload sessions; all state is in the path, since some clients drop queries. Source: distribution-spec, "Pushing blobs"."""

from collections.abc import Callable
from functools import partial

from catalog.blobs.uploads import OpenUpload
from catalog.path_patterns import matches
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest, check_algorithm
from oci.errors import (
    BlobTooLarge,
    BlobUnknown,
    DigestInvalid,
    EntrepotError,
    NameInvalid,
    PullRefused,
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
from registry_api.http.ranges import Span, parse_chunk, upload_progress
from registry_api.v2.upload_stream import UploadStream

_MOST_ASKED = 4
"""Paths that keep a blob back, after which a mount that names no repository is not made."""


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
    await _check_quota(registry, request, 0)
    session_id = await registry.threads.run(_begin_session, registry, request.repository)
    return _progress(202, request, session_id, 0)


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
        return await _is_readable_somewhere(registry, request, digest)
    try:
        name = parse_name(source)
    except NameInvalid:
        return False
    distribution = await registry.find_distribution(name)
    if not await registry.may_pull(request.caller, name):
        return False
    repository = distribution.repository if distribution else name
    snapshot = await registry.find_served(name) or Snapshot(repository, 0)
    if not await registry.is_given(request.caller, name, repository, snapshot, digest):
        return False
    return await _passes_gates(registry, request, name, snapshot, digest)


async def _passes_gates(
    registry: Registry, request: RoutedRequest, path: str, version: Snapshot, blob: Digest, *, is_named: bool = True
) -> bool:
    """Return whether the gates of a path let a blob be pulled from it now; of a path that the client names, events tell it."""
    try:
        await registry.pullable(path, version, blob, request.user, is_pull=is_named)
    except PullRefused:
        return False
    return True


async def _is_readable_somewhere(registry: Registry, request: RoutedRequest, digest: Digest) -> bool:
    """Return whether a path that the caller may pull from has the blob; only versions in memory count.

    The steps are the same whether the blob is absent or others hold it, so that the time reveals nothing. Of the paths that have
    it, the gates of the first _MOST_ASKED are asked; an administrator may not pull what they keep back either.
    """
    catalog, caller = registry.catalog, request.caller.unscoped
    leased = await registry.threads.run(catalog.content.linked_anywhere, digest)
    is_gated = registry.gates.active or registry.policy_gate.active
    if not is_gated and is_administrator(registry.access.store.policy, caller):
        return True
    asked = 0
    for served in catalog.distributions.all():
        if registry.access.may_pull(caller, served):
            snapshot = catalog.serving.cached(served.path)
            if (snapshot is not None and digest in snapshot.blobs and digest not in snapshot.deferred) or (
                served.repository in leased and registry.shows_leases(caller, served.path)
            ):
                version = snapshot or Snapshot(served.repository, 0)
                if not is_gated or await _passes_gates(registry, request, served.path, version, digest, is_named=False):
                    return True
                asked += 1
                if asked == _MOST_ASKED:
                    return False
    return False


def _begin_session(registry: Registry, repository: str) -> str:
    """Open a session for others to resume; return its id. Raises TooManyRequests when too many are open."""
    limit = registry.catalog.settings.max_uploads
    if limit and registry.catalog.uploads.count(repository) >= limit:
        raise TooManyRequests(
            f"{repository} has {limit} open uploads, the limit; finish or cancel one", retry_after=10.0
        )
    return registry.catalog.uploads.open_session(repository)


async def _upload_whole(registry: Registry, request: RoutedRequest, digest: Digest) -> WholeResponse:
    """Store a blob with one request; nothing stays of an interrupted one, since no client knows its session."""
    await _check_quota(registry, request, request.content_length or 0)
    begin = partial(registry.catalog.uploads.begin, request.repository)
    with _stream(registry, request, begin) as stream:
        try:
            await stream.feed(request.receive)
        except (ClientGone, EntrepotError):
            await stream.cancel()
            raise
        await stream.finish(digest)
    return _created(request.name, digest)


async def patch_upload(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Append a chunk, or a stream of any length when there is no Content-Range."""
    with _stream(registry, request, _resuming(registry, request)) as stream:
        try:
            await _append_chunk(registry, stream, request)
            return _progress(202, request, request.reference, await stream.keep())
        except RangeInvalid as error:
            return _out_of_order(request, stream, error)


async def put_upload(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Append the last chunk, if there is one, and close the session; raise DigestInvalid."""
    parameter = request.parameter("digest")
    if parameter is None:
        raise DigestInvalid("missing parameter digest: it closes the upload")
    digest = Digest.parse(parameter)
    with _stream(registry, request, _resuming(registry, request)) as stream:
        try:
            await _append_chunk(registry, stream, request)
            await stream.finish(digest)
        except RangeInvalid as error:
            return _out_of_order(request, stream, error)
    return _created(request.name, digest)


async def get_upload(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond with the progress of a session."""
    with UploadStream(_resuming(registry, request), registry.threads) as stream:
        return _progress(204, request, request.reference, await stream.keep())


async def delete_upload(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Cancel a session."""
    with UploadStream(_resuming(registry, request), registry.threads) as stream:
        await stream.cancel()
    return empty_response(204)


def _resuming(registry: Registry, request: RoutedRequest) -> Callable[[], OpenUpload]:
    """Return what takes the request's session; it raises UploadUnknown, or Conflict when another request holds it."""
    return partial(registry.catalog.uploads.resume, request.repository, request.reference)


def _stream(registry: Registry, request: RoutedRequest, opening: Callable[[], OpenUpload]) -> UploadStream:
    """Return the stream of a request's body into a session.

    It raises RangeInvalid for a chunk that does not start where the session ends, SizeInvalid for one of another length than
    announced, and BlobTooLarge, and drops the session, for a blob above the limit of the settings.
    """
    chunk, announced = _chunk(request), request.content_length
    limit = registry.catalog.settings.max_blob_size

    def admit(session: OpenUpload) -> None:
        if chunk is not None and chunk.first != session.offset:
            raise RangeInvalid(
                f"the chunk starts at byte {chunk.first}, but the session has {session.offset}",
                detail={"offset": session.offset},
            )
        if chunk is not None and announced not in (None, chunk.length):
            raise SizeInvalid(f"Content-Range announces {chunk.length} bytes, Content-Length {announced}")
        if limit and session.offset + (announced or 0) > limit:
            session.cancel()
            raise BlobTooLarge(f"the blob exceeds the limit of {limit} bytes")

    return UploadStream(opening, registry.threads, admit=admit, limit=limit)


def _chunk(request: RoutedRequest) -> Span | None:
    header = request.header(b"content-range")
    return None if header is None else parse_chunk(header.decode("latin-1"))


async def _append_chunk(registry: Registry, stream: UploadStream, request: RoutedRequest) -> None:
    """Append the body; raise SizeInvalid for a wrong length, QuotaExceeded when what is announced does not fit."""
    if request.content_length:
        await _check_quota(registry, request, request.content_length)
    chunk = _chunk(request)
    await stream.feed(request.receive, expected=None if chunk is None else chunk.length)


async def _check_quota(registry: Registry, request: RoutedRequest, announced: int) -> None:
    """Raise QuotaExceeded when the namespace is full, or when so many bytes more are not to fit beside other open uploads.

    That is early advice; what counts is checked when the manifest comes."""
    quotas, uploads = registry.catalog.quotas, registry.catalog.uploads
    if quotas.covering(request.repository):

        def under_way(pattern: str) -> int:
            return uploads.bytes_open(lambda name: matches(pattern, name))

        check = partial(quotas.check_room, request.repository, size=max(announced, 1), under_way=under_way)
        await registry.threads.run(check)


def _where(request: RoutedRequest, session_id: str, offset: int) -> tuple[tuple[bytes, str], ...]:
    """Return the headers that say where to continue; relative, so that they hold behind whatever proxy the client sees."""
    return (
        (b"location", f"/v2/{request.name}/blobs/uploads/{session_id}"),
        (b"range", upload_progress(offset)),
        (b"docker-upload-uuid", session_id),
    )


def _progress(status: int, request: RoutedRequest, session_id: str, offset: int) -> WholeResponse:
    return empty_response(status, *_where(request, session_id, offset))


def _out_of_order(request: RoutedRequest, stream: UploadStream, error: RangeInvalid) -> WholeResponse:
    """Return the refusal of a chunk; the session stays, and the headers say where to continue."""
    assert stream.session is not None
    return error_response(error, *_where(request, stream.session.id, stream.session.offset))


def _created(name: str, digest: Digest) -> WholeResponse:
    return empty_response(201, (b"location", f"/v2/{name}/blobs/{digest}"), (b"docker-content-digest", digest))
