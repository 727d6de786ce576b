"""Atomic signatures at a lookaside address: files beside a registry that has no API for them.

Source: containers-registries.d(5), "lookaside"; containers/image, docs/signature-protocols.md.
"""

import hashlib

import httpx

from oci.digest import Digest
from oci.errors import InvalidInput
from oci.remote.transport import RemoteTransport
from oci.signing.atomic import AtomicSignature
from oci.signing.pgp_messages import LIMIT

_AT_MOST = 1000
"""Signatures of one manifest that are looked for."""


def parse_lookaside(text: str) -> str:
    """Check the base of a lookaside address, `https://signatures.example/path`; raise InvalidInput."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise InvalidInput("a lookaside address is an http or https URL without login, query or fragment")
    return text.rstrip("/")


class Lookaside:
    """The signatures of one repository's manifests, `BASE/NAME@ALGORITHM=HEX/signature-1` and so on until there is none."""

    def __init__(self, transport: RemoteTransport, base: str, repository: str) -> None:
        self._transport, self._base = transport, f"{parse_lookaside(base)}/{repository}"

    async def read(self, digest: Digest) -> list[AtomicSignature]:
        """Return all signatures of a manifest, not verified yet; names are derived from their bytes."""
        found: list[AtomicSignature] = []
        for number in range(1, _AT_MOST + 1):
            url = f"{self._base}@{digest.algorithm}={digest.encoded}/signature-{number}"
            content = await self._transport.fetch(url, limit=LIMIT)
            if content is None:
                break
            found.append(AtomicSignature(f"{digest}@{hashlib.sha256(content).hexdigest()[:32]}", content))
        return found
