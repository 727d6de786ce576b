"""Upload sessions; their state is all in the path, for some clients drop queries. Source: distribution-spec, "Pushing blobs"."""

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
from registry_api.auth.gate import is_administrator
from registry_api.context import Registry
from registry_api.http.bodies import ClientGone
from registry_api.http.errors import error_answer
from registry_api.http.messages import Answer, Request, empty_answer
from registry_api.http.ranges import parse_chunk, upload_progress
from registry_api.v2.upload_stream import Intake

_BUSY_TRIES, _BUSY_PAUSE = 40, 0.05
"""How often, and after how many seconds each time, a session is asked for again that another request still holds: that of a
client whose connection broke is noticed, and lets go, within moments."""


async def post_upload(registry: Registry, request: Request) -> Answer:
    """Mount a blob, take a whole one in, or open a session; a mount that cannot be made opens a session too.

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
    wanted = request.parameter("digest")
    if wanted is not None:
        return await _take_whole(registry, request, Digest.parse(wanted))
    await _check_open_sessions(registry, request.repository)
    await _check_quota(registry, request, 0)
    session = await registry.threads.run(registry.catalog.uploads.begin, request.repository)
    session.close()
    return _progress(202, request, session)


async def _mount(registry: Registry, request: Request, digest: Digest) -> bool:
    """Let the repository use a blob that another one holds; False when it cannot be, for whatever reason."""
    if not await _may_be_mounted(registry, request, digest):
        return False
    try:
        await registry.threads.run(registry.catalog.content.link, request.repository, digest)
    except BlobUnknown:
        return False
    return True


async def _may_be_mounted(registry: Registry, request: Request, digest: Digest) -> bool:
    source = request.parameter("from")
    if source is None:
        return await _is_readable_somewhere(registry, request.caller.unscoped, digest)
    try:
        name = parse_name(source)
    except NameInvalid:
        return False
    found = await registry.find_distribution(name)
    if not await registry.may_pull(request.caller, name):
        return False
    snapshot = await registry.find_served(name)
    repository = found.repository if found else name
    return registry.is_given(request.caller, name, repository, snapshot, digest)


async def _is_readable_somewhere(registry: Registry, caller: Caller, digest: Digest) -> bool:
    """Whether a path that the caller may pull from has the blob; of the versions, those in memory are asked.

    The same is done for a blob that is absent and for one that others hold: the time it takes is to tell nothing.
    """
    catalog = registry.catalog
    leased = await registry.threads.run(catalog.content.linked_anywhere, digest)
    if is_administrator(registry.gate.access.policy, caller):
        return True
    for one in catalog.distributions.all():
        if registry.gate.may_pull(caller, one):
            snapshot = catalog.serving.cached(one.path)
            if (snapshot is not None and digest in snapshot.blobs and digest not in snapshot.deferred) or (
                one.repository in leased and registry.shows_leases(caller, one.path)
            ):
                return True
    return False


async def _check_open_sessions(registry: Registry, repository: str) -> None:
    limit = registry.catalog.settings.max_uploads
    if limit and await registry.threads.run(registry.catalog.uploads.count, repository) >= limit:
        raise TooManyRequests(f"{repository} has {limit} uploads open, as many as it may; end one", retry_after=10.0)


async def _take_whole(registry: Registry, request: Request, digest: Digest) -> Answer:
    """Take a blob in with one request; nothing stays of one that breaks off, for nobody knows its session."""
    await _check_quota(registry, request, request.content_length or 0)
    with Intake(
        await registry.threads.run(registry.catalog.uploads.begin, request.repository), registry.threads
    ) as intake:
        try:
            await _feed(registry, intake, request)
        except (ClientGone, EntrepotError):
            await intake.cancel()
            raise
        await intake.finish(digest)
    return _created(request.name, digest)


async def patch_upload(registry: Registry, request: Request) -> Answer:
    """Append a chunk, or a stream of any length when there is no Content-Range."""
    with Intake(await _resume(registry, request), registry.threads) as intake:
        try:
            await _take_chunk(registry, intake, request)
        except RangeInvalid as error:
            return _out_of_order(request, intake.session, error)
        return _progress(202, request, intake.session)


async def put_upload(registry: Registry, request: Request) -> Answer:
    """Append the last chunk, if there is one, and close the session; raise DigestInvalid."""
    wanted = request.parameter("digest")
    if wanted is None:
        raise DigestInvalid("closing an upload needs the parameter digest")
    digest = Digest.parse(wanted)
    with Intake(await _resume(registry, request), registry.threads) as intake:
        try:
            await _take_chunk(registry, intake, request)
        except RangeInvalid as error:
            return _out_of_order(request, intake.session, error)
        await intake.finish(digest)
    return _created(request.name, digest)


async def get_upload(registry: Registry, request: Request) -> Answer:
    """Tell how much of a session has come."""
    with await _resume(registry, request) as session:
        return _progress(204, request, session)


async def delete_upload(registry: Registry, request: Request) -> Answer:
    """Drop a session."""
    with Intake(await _resume(registry, request), registry.threads) as intake:
        await intake.cancel()
    return empty_answer(204)


async def _resume(registry: Registry, request: Request) -> UploadSession:
    """Take hold of a session; raise UploadUnknown, or Conflict when another request holds it and goes on."""
    uploads = registry.catalog.uploads
    for _ in range(_BUSY_TRIES):
        try:
            return await registry.threads.run(uploads.resume, request.repository, request.reference)
        except Conflict:
            await asyncio.sleep(_BUSY_PAUSE)
    return await registry.threads.run(uploads.resume, request.repository, request.reference)


async def _take_chunk(registry: Registry, intake: Intake, request: Request) -> None:
    """Append the body; raise RangeInvalid when it does not start where the session ends, SizeInvalid for a wrong length."""
    header = request.header(b"content-range")
    if header is None:
        await _feed(registry, intake, request)
        return
    chunk = parse_chunk(header.decode("latin-1"))
    if chunk.first != intake.session.offset:
        raise RangeInvalid(
            f"the chunk starts at byte {chunk.first}, but the session has {intake.session.offset}",
            detail={"offset": intake.session.offset},
        )
    announced = request.content_length
    if announced is not None and announced != chunk.length:
        raise SizeInvalid(f"Content-Range announces {chunk.length} bytes, Content-Length {announced}")
    await _feed(registry, intake, request, expected=chunk.length)


async def _feed(registry: Registry, intake: Intake, request: Request, *, expected: int | None = None) -> None:
    """Append the body; raise BlobTooLarge, and drop the session, when the blob is above the limit of the settings; raise
    QuotaExceeded when what is announced does not fit."""
    if request.content_length:
        await _check_quota(registry, request, request.content_length)
    limit = registry.catalog.settings.max_blob_size
    announced = request.content_length
    if not limit:
        await intake.feed(request.receive, expected=expected)
        return
    try:
        if announced is not None and intake.session.offset + announced > limit:
            raise BlobTooLarge(f"a blob may have {limit} bytes here")
        await intake.feed(request.receive, expected=expected, limit=limit)
    except BlobTooLarge:
        await intake.cancel()
        raise


async def _check_quota(registry: Registry, request: Request, announced: int) -> None:
    """Raise QuotaExceeded when the namespace is full, or when so many bytes more are not to fit beside other open uploads.

    That is early advice; what counts is checked when the manifest comes."""
    quotas, uploads = registry.catalog.quotas, registry.catalog.uploads
    if quotas.covering(request.repository):

        def under_way(pattern: str) -> int:
            return uploads.bytes_open(lambda name: matches(pattern, name))

        check = partial(quotas.check_room, request.repository, size=max(announced, 1), under_way=under_way)
        await registry.threads.run(check)


def _location(request: Request, session: UploadSession) -> str:
    """Relative, so that it holds behind whatever proxy the client sees."""
    return f"/v2/{request.name}/blobs/uploads/{session.id}"


def _progress(status: int, request: Request, session: UploadSession) -> Answer:
    return empty_answer(
        status,
        (b"location", _location(request, session)),
        (b"range", upload_progress(session.offset)),
        (b"docker-upload-uuid", session.id),
    )


def _out_of_order(request: Request, session: UploadSession, error: RangeInvalid) -> Answer:
    """The session lives on: the client reads here where to go on."""
    return error_answer(
        error,
        (b"location", _location(request, session)),
        (b"range", upload_progress(session.offset)),
        (b"docker-upload-uuid", session.id),
    )


def _created(name: str, digest: Digest) -> Answer:
    return empty_answer(201, (b"location", f"/v2/{name}/blobs/{digest}"), (b"docker-content-digest", digest))
