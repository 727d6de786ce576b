"""Fetching damaged content again, from the upstreams that the versions which need it came from."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing

from catalog.blobs.scrub_records import Fault
from catalog.catalog import Catalog
from catalog.content.copy_ends import RepositoryTarget
from catalog.maintenance.impact import ContentUse
from catalog.remotes.clients import Upstreams
from catalog.versions.snapshot import Snapshot
from flows.storage.scrub_request import Attempt, Repair
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.errors import (
    DigestInvalid,
    EntrepotError,
    ManifestInvalid,
    RemoteCorrupt,
    RemoteError,
    RemoteNotFound,
    RemoteUnauthorized,
    RemoteUnavailable,
    SettingsInvalid,
    SizeInvalid,
)
from oci.remote.address import Remote

SILENT_FOR = 600.0
"""Seconds for which a registry that has not answered is not asked again, whatever its client was patient for."""


class Repairer:
    """Fetches blobs and manifests again; use it within one event loop. `monotonic` is in seconds.

    Only upstreams that the catalogue has recorded are asked, each with the login that is configured for it.
    """

    def __init__(
        self, catalog: Catalog, upstreams: Upstreams, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalog, self._upstreams, self._monotonic = catalog, upstreams, monotonic
        self._silent: dict[str, float] = {}

    async def repair(self, fault: Fault) -> Repair:
        """Ask one upstream after the other until one gives the content, which is verified. Raises what the store raises."""
        uses = await asyncio.to_thread(self._catalog.maintenance.uses, fault.digest)
        left = await asyncio.to_thread(self._catalog.sources.of_all, fault.digest)
        attempts: list[Attempt] = []
        for remote, repository in _places(uses, {name: [one.remote for one in some] for name, some in left.items()}):
            failure = await self._fetch(fault, uses, remote, repository)
            attempts.append(Attempt(str(remote.repository_only()), failure))
            if not failure:
                break
        return Repair(fault, tuple(attempts), tuple(use.repository for use in uses), is_left_upstream=bool(left))

    async def _fetch(self, fault: Fault, uses: Sequence[ContentUse], remote: Remote, repository: str) -> str:
        """Fetch the content for a repository; return why that failed, empty when it did not."""
        if self._silent.get(remote.host, 0.0) > self._monotonic():
            return "did not answer"
        try:
            await self._copy(_descriptor(fault, uses), remote, repository)
        except (RemoteError, DigestInvalid, SizeInvalid, ManifestInvalid, SettingsInvalid) as error:
            if isinstance(error, RemoteUnavailable):
                self._silent[remote.host] = self._monotonic() + SILENT_FOR
            return _failure(error)
        return ""

    async def _copy(self, wanted: Descriptor, remote: Remote, repository: str) -> None:
        upstream = await self._upstreams.repository(remote)
        target = RepositoryTarget(self._catalog, Snapshot(repository, 0), source=upstream)
        if wanted.media_type:
            await target.write_manifest(await upstream.read_manifest(wanted))
        else:
            async with aclosing(upstream.read_blob(wanted)) as chunks:  # type: ignore[type-var]  # an async generator
                await target.write_blob(wanted, chunks)


def _places(uses: Sequence[ContentUse], left: Mapping[str, Sequence[Remote]]) -> list[tuple[Remote, str]]:
    """Return whom to ask, and for which repository: where a repository left the blob first, then where versions came from."""
    found: dict[Remote, str] = {}
    for use in uses:
        for remote in left.get(use.repository, ()):
            found.setdefault(remote.repository_only(), use.repository)
    for use in uses:
        for remote in use.upstreams:
            found.setdefault(remote, use.repository)
    return list(found.items())


def _descriptor(fault: Fault, uses: Sequence[ContentUse]) -> Descriptor:
    """Return what is asked for; its media type is empty for a blob."""
    media_type = next((use.media_type for use in uses if use.media_type), "")
    return Descriptor(media_type, fault.digest, fault.size or max((use.size for use in uses), default=UNKNOWN_SIZE))


def _failure(error: EntrepotError) -> str:
    """Return what an upstream did, in a few words, and its error where these do not say it all."""
    match error:
        case RemoteNotFound():
            return "does not have it"
        case RemoteUnavailable():
            return f"did not answer: {error.message}"
        case RemoteUnauthorized():
            return f"refused: {error.message}"
        case RemoteCorrupt() | DigestInvalid() | SizeInvalid() | ManifestInvalid():
            return f"sent other bytes: {error.message}"
        case _:
            return error.message
