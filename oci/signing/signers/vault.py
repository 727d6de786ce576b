"""Signing by HashiCorp Vault's transit engine, or OpenBao's, with the environment variables that cosign reads.

Source: Vault, "Transit secrets engine (API)". securesystemslib's client of it signs with Ed25519 alone.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from oci.signing.deadlines import run_within
from oci.signing.keys import KeyInvalid, PublicKey, Signer, SignerFailed, curve_hash
from oci.signing.signers.addresses import SignerAddress
from oci.signing.signers.outside import OutsideSigner

_LONGEST_ANSWER = 1024 * 1024
_TOKEN = re.compile(r"[!-~]+")
_MOUNT = re.compile(r"[\w-]+(/[\w-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Transit:
    """A key of a transit engine; `token` is sent to `url` alone."""

    url: str
    mount: str
    name: str
    token: str = field(repr=False)
    namespace: str
    verify: str | bool
    timeout: float

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return the `data` of an answer; raise SignerFailed."""
        headers = {"X-Vault-Token": self.token, "X-Vault-Request": "true"}
        if self.namespace:
            headers["X-Vault-Namespace"] = self.namespace
        try:
            with (
                httpx.Client(verify=self.verify, timeout=self.timeout, follow_redirects=False) as client,
                client.stream(method, f"{self.url}/v1/{self.mount}/{path}", headers=headers, json=body) as response,
            ):
                raw = b""
                for chunk in response.iter_bytes():
                    raw += chunk
                    if len(raw) > _LONGEST_ANSWER:
                        raise SignerFailed("the answer is too long")
                return _data_of(response.status_code, raw)
        except (httpx.HTTPError, OSError) as error:
            raise SignerFailed(f"{urlsplit(self.url).hostname}: {type(error).__name__}: {error}") from error

    def public_key(self) -> tuple[PublicKey, int]:
        """Return the newest public key and its version."""
        data = self.ask("GET", f"keys/{self.name}")
        try:
            version = int(data["latest_version"])
            text = data["keys"][str(version)]["public_key"]
            if data["type"] == "ed25519":
                return ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(text)), version
            key = load_pem_public_key(text.encode())
        except (KeyError, TypeError, ValueError, AttributeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, PublicKey):
            raise KeyInvalid(f"the key {self.name} of Vault does not sign: expected ECDSA, Ed25519 or RSA")
        return key, version

    def sign(self, data: bytes, key: PublicKey, version: int) -> bytes:
        """Return a signature. All but Ed25519 sign a hash, so that a large document is not sent."""
        asked: dict[str, object] = {"key_version": version}
        path = f"sign/{self.name}"
        if isinstance(key, ed25519.Ed25519PublicKey):
            asked["input"] = base64.b64encode(data).decode()
        else:
            kind = curve_hash(key.curve) if isinstance(key, ec.EllipticCurvePublicKey) else hashes.SHA256()
            digest = hashes.Hash(kind)
            digest.update(data)
            asked |= {"input": base64.b64encode(digest.finalize()).decode(), "prehashed": True}
            asked |= {"marshaling_algorithm": "asn1", "signature_algorithm": "pkcs1v15"}
            path = f"{path}/sha2-{kind.digest_size * 8}"
        try:
            return base64.b64decode(str(self.ask("POST", path, asked)["signature"]).split(":")[2], validate=True)
        except (KeyError, IndexError, binascii.Error):
            raise SignerFailed("the answer holds no signature") from None


def _data_of(status: int, raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if status == 200 and isinstance(document, dict) and isinstance(document.get("data"), dict):
        return dict(document["data"])
    errors = document.get("errors") if isinstance(document, dict) else None
    said = " ".join(str(errors[0]).split())[:200] if isinstance(errors, list) and errors else ""
    raise SignerFailed(f"HTTP {status}{f': {said}' if said else ''}")


def open_vault(address: SignerAddress, environ: Mapping[str, str], *, timeout: float) -> Signer:
    """Ask Vault for a public key, and return its signer; raise KeyInvalid, SignerFailed."""
    transit = _transit_of(address, environ, timeout)

    def named(error: SignerFailed) -> SignerFailed:
        return SignerFailed(f"the signer {address} failed: {error.message}")

    def sign(data: bytes) -> bytes:
        try:
            return transit.sign(data, key, version)
        except SignerFailed as error:
            raise named(error) from error

    def public_key() -> tuple[PublicKey, int]:
        try:
            return transit.public_key()
        except SignerFailed as error:
            raise named(error) from error

    key, version = run_within(timeout, str(address), public_key)
    return OutsideSigner(str(address), key, sign, timeout=timeout)


def _transit_of(address: SignerAddress, environ: Mapping[str, str], timeout: float) -> _Transit:
    url = environ.get("VAULT_ADDR", "").rstrip("/")
    token = environ.get("VAULT_TOKEN", "").strip() or _token_file(environ)
    mount = environ.get("TRANSIT_SECRET_ENGINE_PATH", "transit").strip("/")
    if urlsplit(url).scheme not in ("http", "https") or not _MOUNT.fullmatch(mount):
        raise KeyInvalid(
            f"the signer {address} needs VAULT_ADDR, the URL of Vault, in the worker's environment; "
            "TRANSIT_SECRET_ENGINE_PATH names another engine than transit"
        )
    if not _TOKEN.fullmatch(token):  # the client's error for a header would repeat it
        raise KeyInvalid(f"the signer {address} needs VAULT_TOKEN in the worker's environment, or ~/.vault-token")
    return _Transit(
        url,
        mount,
        address.name,
        token,
        environ.get("VAULT_NAMESPACE", ""),
        environ.get("VAULT_CACERT") or True,
        timeout,
    )


def _token_file(environ: Mapping[str, str]) -> str:
    try:
        return (Path(environ.get("HOME", "/")) / ".vault-token").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
