"""A repository on another registry, as a Source and a Target. Source: distribution-spec 1.1."""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Literal
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
    RemoteLoop,
    RemoteNotFound,
    RemoteRefused,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from oci.manifest import MAX_BYTES, Manifest, parse_manifest, plain_media_type
from oci.reference import parse_name, parse_tag
from oci.remote.decoding import decoded, encodings_of
from oci.remote.listing import TagListing, pages
from oci.remote.partial import NoRangeError, first_byte
from oci.remote.referrers_tag import fallback_tag
from oci.remote.responses import is_inconclusive
from oci.remote.signature_extension import SignatureExtension
from oci.remote.transport import RemoteTransport
from oci.remote.upload import BlobUploads

_RESUMES = 100
_FRUITLESS = 3
"""A blob is taken up again after a break at most so often in all, and so often without a single new byte."""


class RemoteRepository:
    """Reads and writes one repository through its registry's transport; `for_push` asks for that right from the start."""

    def __init__(
        self, transport: RemoteTransport, name: str, *, for_push: bool = False, fail_fast: bool = False
    ) -> None:
        self._transport, self.repository, self.fail_fast = transport, parse_name(name), fail_fast
        self._pull, self._push = f"repository:{name}:pull", f"repository:{name}:pull,push"
        if for_push:
            self._pull = self._push  # a login that may push is told 404 where others are told 401
        self.uploads = BlobUploads(transport, self.repository, self._push)
        self.signatures = SignatureExtension(transport, self.repository, pull=self._pull, push=self._push)
        self._listed: frozenset[str] | None = None
        self._head: Literal["unknown", "good", "useless"] = "unknown"
        self._head_said_404 = False
        self.listing_may_be_cut = False
        """Whether there may be more tags than the last listing has shown."""
        self.remarks: list[str] = []
        """What failed without being needed, as sentences."""
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
        """The transport of its requests."""
        return self._transport

    def failing_fast(self) -> "RemoteRepository":
        """Return the same repository without retries, for use where another place can be asked."""
        return RemoteRepository(self._transport, self.repository, fail_fast=True)

    def report_corrupt(self, error: RemoteCorrupt, _digest: Digest) -> bool:
        """Report that a blob it has sent was corrupt; return False, for there is no other place to read it from."""
        self._transport.report(error)
        return False

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self._transport.request(method, path, once=self.fail_fast, **options)

    def _path(self, rest: str) -> str:
        return f"/v2/{self.repository}/{rest}"

    # --- reading ---

    async def tags(self) -> AsyncIterator[str]:
        """Yield every tag, page by page, in the registry's order; raise RemoteNotFound for an unknown repository."""
        listed: set[str] = set()
        listing = TagListing(self._get, self._path("tags/list"), self.host)
        async for tag in listing.tags():
            listed.add(tag)
            yield tag
        self._listed, self.listing_may_be_cut = frozenset(listed), listing.may_be_cut

    async def _get(self, path: str, **options: Any) -> httpx.Response:
        return await self._request("GET", path, scope=self._pull, **options)

    async def resolve(self, reference: str) -> Descriptor:
        """Return what a tag or digest points to now, by one HEAD where the registry responds to it fully."""
        found = await self._ask_head(reference) if self._head != "useless" else None
        if found is not None:
            self._head = "good"
            return found
        try:
            manifest = await self._get_manifest(reference, "")
        except RemoteNotFound:
            self._head = "good" if self._head == "unknown" and self._head_said_404 else self._head
            raise
        self._head = "useless"
        return manifest.descriptor

    async def _ask_head(self, reference: str) -> Descriptor | None:
        """Return the descriptor by a HEAD; None where its response is incomplete, so that a GET is needed.

        Some registries refuse HEAD, or redirect it to where nothing but GET is allowed; and to some of these it is not there.
        """
        path, headers = self._path(f"manifests/{reference}"), {"Accept": mediatypes.ACCEPT}
        try:
            response = await self._request("HEAD", path, scope=self._pull, headers=headers)
        except RemoteNotFound:
            if self._head == "good":
                raise
            self._head_said_404 = True
            return None
        except RemoteError as error:
            if not is_inconclusive(error):
                raise
            return None
        found, size = response.headers.get("docker-content-digest", ""), response.headers.get("content-length", "")
        media_type = plain_media_type(response.headers.get("content-type", ""))
        is_plain = not encodings_of(response) and size.isdecimal() and size.isascii() and int(size) > 0
        if not found or not is_plain or media_type not in mediatypes.MANIFESTS or media_type in mediatypes.SCHEMA1:
            return None
        try:
            return Descriptor(media_type, Digest.parse(found), int(size))
        except DigestInvalid as error:
            raise RemoteCorrupt(f"names no digest for {reference}: {error}", registry=self.host) from error

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest, verified; raise RemoteCorrupt where digest, size or media type are not the descriptor's."""
        manifest = await self._get_manifest(descriptor.digest, descriptor.media_type)
        if manifest.digest != descriptor.digest:
            raise self._corrupt(f"sent {manifest.digest} when asked for manifest {descriptor.digest}")
        is_schema1 = manifest.media_type in mediatypes.SCHEMA1
        if not is_schema1 and descriptor.size not in (UNKNOWN_SIZE, manifest.size):
            raise self._corrupt(
                f"{descriptor.digest} has {manifest.size} bytes, but was announced with {descriptor.size} "
                "(ENTREPOT_MISSTATED_SIZES accepts an index that says so)"
            )
        return manifest

    async def _get_manifest(self, reference: str, media_type: str) -> Manifest:
        path, headers = self._path(f"manifests/{reference}"), {"Accept": mediatypes.ACCEPT}
        response = await self._request("GET", path, scope=self._pull, headers=headers, limit=MAX_BYTES)
        carried = plain_media_type(response.headers.get("content-type", ""))
        if carried not in mediatypes.MANIFESTS:  # then what the body says counts, and who has announced it
            carried = media_type
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
        offset, fruitless, by_range = start, 0, True
        for resumed in range(_RESUMES):
            if offset and offset == descriptor.size:
                return  # it broke off behind its last byte
            begun = offset
            try:
                async for chunk in self._read_from(descriptor, begun, by_range=by_range):
                    offset += len(chunk)
                    if descriptor.size != UNKNOWN_SIZE and offset > descriptor.size:
                        raise self._corrupt(f"sent more than the {descriptor.size} bytes of blob {descriptor.digest}")
                    yield chunk
                if descriptor.size in (UNKNOWN_SIZE, offset):
                    return
                broken = self._unavailable(f"ended blob {descriptor.digest} after {offset} bytes of {descriptor.size}")
                self._transport.report(broken)
            except NoRangeError:
                by_range = False
                continue
            except httpx.TransportError as error:
                self._transport.broken(error)
                broken = self._unavailable(
                    f"broke off blob {descriptor.digest} after {offset} bytes: {error or type(error).__name__}"
                )
                broken.__cause__ = error
            fruitless = 0 if offset > begun else fruitless + 1
            if fruitless == _FRUITLESS or resumed == _RESUMES - 1 or self.fail_fast:
                raise broken
            await self._transport.pause(fruitless)

    async def _read_from(self, descriptor: Descriptor, offset: int, *, by_range: bool) -> AsyncIterator[bytes]:
        """Yield a blob's bytes from an offset on; raise NoRangeError where that must be done by reading all of it."""
        is_part = by_range and offset > 0
        headers = {"Range": f"bytes={offset}-"} if is_part else {}
        path, once = self._path(f"blobs/{descriptor.digest}"), self.fail_fast
        try:
            async with self._transport.stream("GET", path, scope=self._pull, headers=headers, once=once) as response:
                skip = offset - first_byte(response, offset if is_part else 0)
                if response.status_code == 416 or skip < 0:
                    raise self._corrupt(f"does not send blob {descriptor.digest} from its beginning")
                async for chunk in self._blob_bytes(response, descriptor):
                    await self._transport.passed(len(chunk))
                    if skip:
                        dropped = min(skip, len(chunk))
                        skip, chunk = skip - dropped, chunk[dropped:]  # what we have already
                    if chunk:
                        yield chunk
        except (RemoteRefused, RemoteUnauthorized) as error:
            if is_part and error.status in (400, 403, 405, 501):
                raise NoRangeError from error
            raise

    def _blob_bytes(self, response: httpx.Response, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """Yield the bytes of a blob in a response, decoded unless its length shows that the encoding is the blob itself."""
        if not encodings_of(response) or response.headers.get("content-length") == str(descriptor.size):
            return response.aiter_raw()
        return decoded(response, self.host)

    async def referrers(self, digest: Digest) -> list[Descriptor]:
        """Manifests whose subject is the digest, by the API or else by the fallback tag; empty where there are none.

        That a registry lacks the API is asked once, and a fallback tag that a listing has not shown is not asked for. Whatever is
        no index counts as no API; `remarks` say so.
        """
        if self.has_referrers_api:
            try:
                return await self._ask_referrers(digest)
            except RemoteError as error:
                if isinstance(error, RemoteLoop) or (isinstance(error, RemoteUnavailable) and error.status is None):
                    raise
                if self.has_referrers_api and not isinstance(error, RemoteNotFound):
                    self.remarks.append(
                        f"{self.host} has no usable list of referrers, so fallback tags are asked for: {error.message}"
                    )
                self.has_referrers_api = False
        tag = fallback_tag(digest)
        if self._listed is not None and not self.listing_may_be_cut and tag not in self._listed:
            return []
        index = await self.find_manifest(tag)
        return list(index.manifests) if index and index.is_index else []

    async def _ask_referrers(self, digest: Digest) -> list[Descriptor]:
        found: list[Descriptor] = []
        async for page, _following in pages(self._get, self._path(f"referrers/{digest}"), self.host):
            found += self._entries(page)
        return found

    async def find_manifest(self, reference: str) -> Manifest | None:
        """Return what a tag or digest text points to; None for nothing."""
        try:
            return await self._get_manifest(reference, "")
        except RemoteNotFound:
            return None

    def _entries(self, page: Mapping[str, object]) -> list[Descriptor]:
        entries = page.get("manifests")
        is_index = page.get("schemaVersion") == 2 or page.get("mediaType") == mediatypes.OCI_INDEX
        if entries is None and is_index and "manifests" in page:
            return []
        if not isinstance(entries, list):
            raise self._corrupt("lists referrers that are no index")
        try:
            return [Descriptor.from_json(entry, where="referrer") for entry in entries]
        except ManifestInvalid as error:
            raise self._corrupt(str(error)) from error

    async def offers(self, digest: Digest) -> bool:
        """Return whether the registry would give the blob, by HEAD, or where that is inconclusive by the head of a GET."""
        path = self._path(f"blobs/{digest}")
        try:
            await self._request("HEAD", path, scope=self._pull)
        except RemoteNotFound:
            return False
        except RemoteError as error:
            if not is_inconclusive(error):
                raise
            try:
                async with self._transport.stream("GET", path, scope=self._pull, once=self.fail_fast):
                    return True
            except RemoteNotFound:
                return False
        return True

    async def proves(self, digest: Digest, origins: Collection[str]) -> bool:
        """Return whether this registry is one of `origins`, which have sent the blob before, and confirms that it has it."""
        try:
            if await self._transport.origin() not in origins:
                return False
            return await self.failing_fast().offers(digest)
        except RemoteError:
            return False

    def delivered_by(self, _digest: Digest) -> str:
        """This registry."""
        return self._transport.known_origin

    # --- writing ---

    async def has(self, descriptor: Descriptor) -> bool:
        """Return whether the registry holds the manifest or blob; where it does not say so, it does not."""
        part = "manifests" if descriptor.media_type in mediatypes.MANIFESTS else "blobs"
        headers = {"Accept": mediatypes.ACCEPT} if part == "manifests" else {}
        try:
            await self._transport.request(
                "HEAD", self._path(f"{part}/{descriptor.digest}"), scope=self._push, headers=headers
            )
        except RemoteNotFound:
            return False
        except RemoteError as error:
            if not is_inconclusive(error):
                raise
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
