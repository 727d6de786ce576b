"""Atomic signatures by a registry's extension API. Source: containers/image, docs/signature-protocols.md."""

import json
from collections.abc import Mapping

from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteNotFound
from oci.remote.transport import RemoteTransport


class SignatureExtension:
    """Reads and writes the signatures of one repository's manifests."""

    def __init__(self, transport: RemoteTransport, repository: str, *, pull: str, push: str) -> None:
        """`pull` and `push` are the scopes to read and to write by: a login that may only pull reads them too."""
        self._transport, self._repository, self._pull, self._push = transport, repository, pull, push

    async def is_there(self) -> bool:
        """Return whether the registry has the extension."""
        return await self._transport.takes_signatures()

    async def names(self, digest: Digest) -> set[str]:
        """Return the names of the signatures that a manifest has."""
        try:
            return {str(one["name"]) for one in await self.read(digest)}
        except KeyError:
            raise self._corrupt() from None

    async def read(self, digest: Digest) -> list[Mapping[str, object]]:
        """Return the signatures that a manifest has, as objects of the extension's responses; none where it is missing."""
        try:
            response = await self._transport.request("GET", self._path(digest), scope=self._pull)
        except RemoteNotFound:
            return []
        try:
            found = json.loads(response.content)["signatures"] or []
        except (ValueError, KeyError, TypeError):
            raise self._corrupt() from None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._corrupt()
        return found

    def _corrupt(self) -> RemoteCorrupt:
        return RemoteCorrupt("lists signatures that are none", registry=self._transport.host)

    async def put(self, digest: Digest, signature: dict[str, object]) -> None:
        """Add one, an object as in the extension's responses."""
        await self._transport.request(
            "PUT",
            self._path(digest),
            scope=self._push,
            headers={"Content-Type": "application/json"},
            content=json.dumps(signature).encode(),
        )

    def _path(self, digest: Digest) -> str:
        return f"/extensions/v2/{self._repository}/signatures/{digest}"
