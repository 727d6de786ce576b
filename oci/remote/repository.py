"""A repository on another registry, as a Source and a Target. Source: distribution-spec 1.1."""

import json
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from oci import mediatypes
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import (
    DigestInvalid,
    ManifestInvalid,
    RemoteCorrupt,
    RemoteError,
    RemoteNotFound,
    RemoteRefused,
    RemoteUnavailable,
)
from oci.manifest import MAX_BYTES, Manifest, parse_manifest, plain_media_type
from oci.reference import parse_name, parse_tag
from oci.remote.extension import SignatureExtension
from oci.remote.fallback import fallback_tag
from oci.remote.transport import RemoteTransport
from oci.remote.upload import BlobUploads

_MAX_PAGES = 100_000
_RESUMES = 100
_FRUITLESS = 3
"""A blob is taken up again after a break at most so often in all, and so often without a single new byte."""


class RemoteRepository:
    """Speaks for one repository through its registry's transport; `for_push` asks for that right from the first request on."""

    def __init__(
        self, transport: RemoteTransport, name: str, *, for_push: bool = False, is_patient: bool = True
    ) -> None:
        self._transport, self.repository, self.is_patient = transport, parse_name(name), is_patient
        self._pull, self._push = f"repository:{name}:pull", f"repository:{name}:pull,push"
        if for_push:
            self._pull = self._push  # a login that may push is told 404 where others are told 401
        self.uploads = BlobUploads(transport, self.repository, self._push)
        self.signatures = SignatureExtension(transport, self.repository, self._push)
        self._listed: frozenset[str] | None = None
        self.has_referrers_api = True
        """Whether the registry has it, as far as it was asked for referrers."""

    @property
    def name(self) -> str:
        """host/repository."""
        return f"{self._transport.host}/{self.repository}"

    @property
    def host(self) -> str:
        """The registry."""
        return self._transport.host

    @property
    def transport(self) -> RemoteTransport:
        """What its requests are sent by."""
        return self._transport

    def hurried(self) -> "RemoteRepository":
        """The same, for when there is somebody else to ask: it fails with the first failure."""
        return RemoteRepository(self._transport, self.repository, is_patient=False)

    def blame(self, error: RemoteCorrupt, _digest: Digest) -> bool:
        """Take note that the blob it has sent was another one; False: there is no other place to have it from."""
        self._transport.report(error)
        return False

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self._transport.request(method, path, once=not self.is_patient, **options)

    def _path(self, rest: str) -> str:
        return f"/v2/{self.repository}/{rest}"

    # --- reading ---

    async def tags(self) -> AsyncIterator[str]:
        """Yield every tag, page by page, in the registry's order; raise RemoteNotFound for an unknown repository."""
        listed: set[str] = set()
        async for page in self._pages(self._path("tags/list?n=1000"), self._pull):
            tags = page.get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise self._corrupt("lists tags that are not a list of texts")
            listed.update(tags)
            for tag in tags:
                yield tag
        self._listed = frozenset(listed)

    async def resolve(self, reference: str) -> Descriptor:
        """Return what a tag or digest points to now, by one HEAD where the registry answers it fully."""
        path, headers = self._path(f"manifests/{reference}"), {"Accept": mediatypes.ACCEPT}
        try:
            response = await self._request("HEAD", path, scope=self._pull, headers=headers)
        except RemoteRefused:  # some registries refuse HEAD: 405, 400
            return (await self._get_manifest(reference, "")).descriptor
        found, size = response.headers.get("docker-content-digest"), response.headers.get("content-length")
        media_type = plain_media_type(response.headers.get("content-type", ""))
        if not found or not size or media_type not in mediatypes.MANIFESTS or media_type in mediatypes.SCHEMA1:
            return (await self._get_manifest(reference, "")).descriptor
        try:
            return Descriptor(media_type, Digest.parse(found), int(size))
        except (DigestInvalid, ValueError) as error:
            raise RemoteCorrupt(f"names no digest for {reference}: {error}", registry=self._transport.host) from error

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest, verified; raise RemoteCorrupt where digest, size or media type are not the descriptor's."""
        manifest = await self._get_manifest(descriptor.digest, descriptor.media_type)
        if manifest.digest != descriptor.digest:
            raise self._corrupt(f"sent {manifest.digest} when asked for manifest {descriptor.digest}")
        is_schema1 = manifest.media_type in mediatypes.SCHEMA1
        if not is_schema1 and descriptor.size not in (UNKNOWN_SIZE, manifest.size):
            raise self._corrupt(
                f"{descriptor.digest} has {manifest.size} bytes, but was announced with {descriptor.size}"
            )
        return manifest

    async def _get_manifest(self, reference: str, media_type: str) -> Manifest:
        path, headers = self._path(f"manifests/{reference}"), {"Accept": mediatypes.ACCEPT}
        response = await self._request("GET", path, scope=self._pull, headers=headers, limit=MAX_BYTES)
        carried = response.headers.get("content-type", "")
        algorithm = reference.partition(":")[0] if ":" in reference else "sha256"
        try:
            manifest = parse_manifest(response.content, carried, algorithm=algorithm)
        except ManifestInvalid as error:
            raise self._corrupt(f"manifest {reference} is not one: {error}") from error
        if (
            media_type
            and manifest.media_type != media_type
            and not {manifest.media_type, media_type} <= mediatypes.SCHEMA1
        ):
            raise self._corrupt(f"manifest {reference} is {manifest.media_type}, but was announced as {media_type}")
        return manifest

    async def read_blob(self, descriptor: Descriptor, start: int = 0) -> AsyncIterator[bytes]:
        """Yield a blob's bytes from `start` on; a break is mended by asking for the rest. The reader verifies the digest."""
        offset, fruitless = start, 0
        for resumed in range(_RESUMES):
            if offset and offset == descriptor.size:
                return  # it broke off behind its last byte
            begun = offset
            try:
                async for chunk in self._read_from(descriptor, begun):
                    offset += len(chunk)
                    if descriptor.size != UNKNOWN_SIZE and offset > descriptor.size:
                        raise self._corrupt(f"sent more than the {descriptor.size} bytes of blob {descriptor.digest}")
                    yield chunk
                if descriptor.size in (UNKNOWN_SIZE, offset):
                    return
                broken = self._unavailable(f"ended blob {descriptor.digest} after {offset} bytes of {descriptor.size}")
            except httpx.TransportError as error:
                broken = self._unavailable(
                    f"broke off blob {descriptor.digest} after {offset} bytes: {error or type(error).__name__}"
                )
                broken.__cause__ = error
            self._transport.report(broken)
            fruitless = 0 if offset > begun else fruitless + 1
            if fruitless == _FRUITLESS or resumed == _RESUMES - 1 or not self.is_patient:
                raise broken
            await self._transport.pause(fruitless)

    async def _read_from(self, descriptor: Descriptor, offset: int) -> AsyncIterator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        path = self._path(f"blobs/{descriptor.digest}")
        once = not self.is_patient
        async with self._transport.stream("GET", path, scope=self._pull, headers=headers, once=once) as response:
            if response.status_code == 416:
                raise self._corrupt(f"has fewer than {offset} bytes of blob {descriptor.digest}")
            skip = 0 if response.status_code == 206 else offset
            async for chunk in response.aiter_raw():
                await self._transport.passed(len(chunk))
                if skip:
                    dropped = min(skip, len(chunk))
                    skip, chunk = skip - dropped, chunk[dropped:]  # what we have already
                if chunk:
                    yield chunk

    async def referrers(self, digest: Digest) -> list[Descriptor]:
        """Manifests whose subject is the digest, by the API or else by the fallback tag; empty where there are none.

        That a registry lacks the API is asked once, and a fallback tag that a listing has not shown is not asked for.
        """
        if self.has_referrers_api:
            found: list[Descriptor] = []
            try:
                async for page in self._pages(self._path(f"referrers/{digest}"), self._pull):
                    found += self._entries(page)
            except (RemoteNotFound, RemoteRefused):
                self.has_referrers_api = False
            else:
                return found
        tag = fallback_tag(digest)
        if self._listed is not None and tag not in self._listed:
            return []
        index = await self.find_manifest(tag)
        return list(index.manifests) if index and index.is_index else []

    async def find_manifest(self, reference: str) -> Manifest | None:
        """What a tag or digest text points to; None for nothing."""
        try:
            return await self._get_manifest(reference, "")
        except RemoteNotFound:
            return None

    def _entries(self, page: Mapping[str, object]) -> list[Descriptor]:
        entries = page.get("manifests") or []
        if not isinstance(entries, list):
            raise self._corrupt("lists referrers that are no list")
        try:
            return [Descriptor.from_json(entry, where="referrer") for entry in entries]
        except ManifestInvalid as error:
            raise self._corrupt(str(error)) from error

    async def _pages(self, path: str, scope: str) -> AsyncIterator[dict[str, object]]:
        """Follow Link rel=next on the same registry; raise RemoteCorrupt for a page that is none, or a loop."""
        seen: set[str] = set()
        while True:
            if path in seen or len(seen) > _MAX_PAGES:
                raise self._corrupt(f"pages its list in a loop at {path[:200]}")
            seen.add(path)
            response = await self._request("GET", path, scope=scope)
            try:
                page = json.loads(response.content)
            except ValueError as error:
                raise self._corrupt(f"answered {path[:200]} with what is not JSON") from error
            if not isinstance(page, dict):
                raise self._corrupt(f"answered {path[:200]} with JSON that is no object")
            yield page
            following = response.links.get("next", {}).get("url")
            if not following:
                return
            url = response.request.url.join(following)
            if url.host != response.request.url.host:
                raise self._corrupt(f"continues its list on another host, {url.host}")
            path = url.raw_path.decode()

    async def offers(self, digest: Digest) -> bool:
        """Whether the registry would give the blob, by HEAD."""
        try:
            await self._request("HEAD", self._path(f"blobs/{digest}"), scope=self._pull)
        except RemoteNotFound:
            return False
        return True

    async def proves(self, digest: Digest, origins: Collection[str]) -> bool:
        """Whether this registry is one of `origins`, which have sent the blob before, and says that the repository has it."""
        try:
            if await self._transport.origin() not in origins:
                return False
            return await self.hurried().offers(digest)
        except RemoteError:
            return False

    def delivered_by(self, _digest: Digest) -> str:
        """This registry."""
        return self._transport.known_origin

    # --- writing ---

    async def has(self, descriptor: Descriptor) -> bool:
        """Whether the registry holds the manifest or blob."""
        part = "manifests" if descriptor.media_type in mediatypes.MANIFESTS else "blobs"
        headers = {"Accept": mediatypes.ACCEPT} if part == "manifests" else {}
        try:
            await self._transport.request(
                "HEAD", self._path(f"{part}/{descriptor.digest}"), scope=self._push, headers=headers
            )
        except RemoteNotFound:
            return False
        return True

    async def write_blob(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Upload a blob in one stream; raise SizeInvalid or DigestInvalid where the bytes are not the descriptor's."""
        await self.uploads.upload(descriptor, lambda _offset: chunks, once=True)

    async def write_manifest(self, manifest: Manifest) -> None:
        """Put a manifest under its digest."""
        await self._put_manifest(manifest, manifest.digest)

    async def write_tag(self, tag: str, manifest: Manifest) -> None:
        """Put a manifest under a tag."""
        await self._put_manifest(manifest, parse_tag(tag))

    async def delete(self, reference: str) -> None:
        """Delete a tag, or a manifest with its tags; raise RemoteNotFound, or RemoteRefused where that is not done."""
        scope = f"repository:{self.repository}:pull,push,delete"
        await self._transport.request("DELETE", self._path(f"manifests/{reference}"), scope=scope)

    async def _put_manifest(self, manifest: Manifest, reference: str) -> None:
        response = await self._transport.request(
            "PUT",
            self._path(f"manifests/{quote(reference, safe=':')}"),
            scope=self._push,
            headers={"Content-Type": manifest.media_type},
            content=manifest.raw,
        )
        found = response.headers.get("docker-content-digest", manifest.digest)
        if found != manifest.digest:
            raise self._corrupt(f"took manifest {manifest.digest} for {found[:200]}")

    def _corrupt(self, message: str) -> RemoteCorrupt:
        return RemoteCorrupt(message, registry=self._transport.host)

    def _unavailable(self, message: str) -> RemoteUnavailable:
        return RemoteUnavailable(message, registry=self._transport.host)
