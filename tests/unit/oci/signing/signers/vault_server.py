"""Vault's transit API with a key of each kind, as a small server has it; what it is asked for is checked."""

import base64
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from tests.receivers import Answer, Received
from tests.unit.oci.signing.signers.keys import NAMES, key_of

TOKEN = "hvs.of-a-test"
TYPES = {"p256": "ecdsa-p256", "p384": "ecdsa-p384", "ed25519": "ed25519", "rsa": "rsa-2048"}
HASHES = {"p256": hashes.SHA256(), "p384": hashes.SHA384(), "rsa": hashes.SHA256()}


def transit(received: Received) -> Answer:
    if received.headers.get("x-vault-token") != TOKEN:
        return 403, {}, b'{"errors":["permission denied"]}'
    _, _, _, verb, name, *rest = received.path.split("/")
    if name not in NAMES:
        return 404, {}, b'{"errors":[]}'
    data = (
        _key(name)
        if verb == "keys"
        else {"signature": f"vault:v2:{base64.b64encode(_sign(name, received, rest)).decode()}"}
    )
    return 200, {}, json.dumps({"data": data}).encode()


def _key(name: str) -> dict[str, object]:
    public = key_of(name).public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        text = base64.b64encode(public.public_bytes_raw()).decode()
    else:
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        text = public.public_bytes(serialization.Encoding.PEM, kind).decode()
    return {"type": TYPES[name], "latest_version": 2, "keys": {"1": {}, "2": {"public_key": text}}}


def _sign(name: str, received: Received, rest: list[str]) -> bytes:
    key, asked = key_of(name), received.json
    data = base64.b64decode(asked["input"])
    assert asked["key_version"] == 2
    if isinstance(key, ed25519.Ed25519PrivateKey):
        assert not asked.get("prehashed")
        return key.sign(data)
    kind = HASHES[name]
    assert (asked["prehashed"], rest, len(data)) == (True, [f"sha2-{kind.digest_size * 8}"], kind.digest_size)
    if isinstance(key, rsa.RSAPrivateKey):
        assert asked["signature_algorithm"] == "pkcs1v15"
        return key.sign(data, padding.PKCS1v15(), Prehashed(kind))
    assert asked["marshaling_algorithm"] == "asn1"
    return key.sign(data, ec.ECDSA(Prehashed(kind)))
