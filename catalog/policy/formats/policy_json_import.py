"""Containers' policy.json, read into a policy; what it says and a policy cannot is refused. Source: containers-policy.json(5)."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from catalog.policy.document import TrustPolicy, make_policy
from catalog.policy.formats.exported import NotExpressible
from catalog.policy.formats.root_material import RootMaterial, split_pem
from catalog.policy.policy_text import load_policy_text
from oci.errors import InvalidInput
from oci.signing.keys import load_verifier

ReadFile = Callable[[str], bytes]
"""Returns the bytes of a file that the document names; raises InvalidInput."""

_KEYS = {
    "insecureAcceptAnything": {"type"},
    "reject": {"type"},
    "signedBy": {"type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"},
    "sigstoreSigned": {"type", "keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "rekorPublicKeyPath",
                       "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas", "signedIdentity"},
}  # fmt: skip
_NAMES = {
    "matchExact": "reference",
    "matchRepoDigestOrExact": "digest-or-reference",
    "matchRepository": "repository",
}
_FIXED = {
    "exactReference": {"dockerReference": "reference"},
    "exactRepository": {"dockerRepository": "repository"},
    "remapIdentity": {"prefix": "prefix", "signedPrefix": "signed_prefix"},
}


@dataclass(slots=True)
class _Reading:
    """What is read so far: signers by name, and notes."""

    read_file: ReadFile
    roots: RootMaterial | None
    signers: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def import_policy_json(
    raw: bytes, *, registry: str, read_file: ReadFile, roots: RootMaterial | None = None, where: str = "policy.json"
) -> tuple[TrustPolicy, tuple[str, ...]]:
    """Return the policy for what `registry` serves, and notes on what says nothing about it.

    `roots` are those of the trust configuration: a requirement by certificate has to name no others. Raises InvalidInput,
    NotExpressible.
    """
    document = load_policy_text(raw, where)
    _check_keys(document, {"default", "transports"}, where)
    if "default" not in document:
        raise InvalidInput(f"{where} has no default")
    reading = _Reading(read_file, roots)
    transports = document.get("transports", {})
    if not isinstance(transports, dict) or not isinstance(transports.get("docker", {}), dict):
        raise InvalidInput(f"{where}: transports: expected objects")
    reading.notes += [f"the transport {name} is no registry and is left out" for name in transports if name != "docker"]
    scopes = dict(transports.get("docker", {}))
    rest = scopes.pop("", document["default"])
    rules = []
    for scope, requirements in sorted(scopes.items(), key=lambda one: (-len(one[0]), one[0])):
        path = _path_of(scope, registry, reading)
        if path is not None:
            rules.append({"paths": [path], **_rule_of(requirements, f"{where}: {scope}", reading)})
    last = _rule_of(rest, f"{where}: default", reading)
    if last["action"] == "verify" and not any(rule["paths"] == ["**"] for rule in rules):
        rules.append({"paths": ["**"], **last})
    default = "allow" if last["action"] == "allow" else "deny"
    made = {"version": 1, "registry": registry, "signers": reading.signers, "rules": rules, "default": default}
    return make_policy(made, where=where), tuple(reading.notes)


def _check_keys(value: Any, allowed: set[str], where: str) -> None:
    if not isinstance(value, dict):
        raise InvalidInput(f"{where}: expected an object")
    if unknown := sorted(value.keys() - allowed):
        raise InvalidInput(f"{where}: unknown key {unknown[0]!r}")


def _path_of(scope: str, registry: str, reading: _Reading) -> str | None:
    """Return the pattern of a scope of our registry; None, with a note, for one of another."""
    if scope == registry:
        return "**"
    if not scope.startswith(f"{registry}/"):
        if scope.startswith("*."):
            raise NotExpressible(f"policy.json: the scope {scope} may be about {registry}; write the host out")
        reading.notes.append(f"the scope {scope} is of another registry than {registry} and is left out")
        return None
    path = scope.removeprefix(f"{registry}/")
    if "@" in path or ":" in path:
        raise NotExpressible(f"policy.json: the scope {scope} is of one tag or digest; policies are about repositories")
    return f"{path}/**"


def _rule_of(requirements: Any, where: str, reading: _Reading) -> dict[str, Any]:
    if not isinstance(requirements, list) or not requirements:
        raise InvalidInput(f"{where}: expected requirements")
    kinds = []
    for one in requirements:
        kind = one.get("type") if isinstance(one, dict) else None
        if kind not in _KEYS:
            raise NotExpressible(f"{where}: requirements of the type {kind!r} cannot be said")
        _check_keys(one, _KEYS[kind], f"{where}: {kind}")
        kinds.append(kind)
    if "reject" in kinds:
        return {"action": "deny"}
    signed = [one for one in requirements if one["type"] != "insecureAcceptAnything"]
    if not signed:
        return {"action": "allow"}
    return {"action": "verify", "signatures": [_signature_of(one, where, reading) for one in signed]}


def _signature_of(one: Mapping[str, Any], where: str, reading: _Reading) -> dict[str, Any]:
    name = _name_of(one.get("signedIdentity", {"type": "matchRepoDigestOrExact"}), where)
    if one["type"] == "signedBy":
        if one.get("keyType") != "GPGKeys":
            raise NotExpressible(f"{where}: keys of the type {one.get('keyType')!r} cannot be said; expected GPGKeys")
        return {"signers": _openpgp_signers(_key_bytes(one, where, reading), where, reading), "name": name}
    if "fulcio" in one:
        return {"signers": [_fulcio_signer(one, where, reading)], "name": name}
    if any(key.startswith("rekor") for key in one):
        raise NotExpressible(f"{where}: that a log has the signature of a key cannot be said")
    names = []
    for pem in _key_bytes(one, where, reading):
        verifier = load_verifier(pem, where=where)
        names.append(_keep(reading, "key", verifier.fingerprint, {"keys": [pem.decode()]}))
    return {"signers": list(dict.fromkeys(names)), "name": name}


def _key_bytes(one: Mapping[str, Any], where: str, reading: _Reading) -> list[bytes]:
    """Return the keys of a requirement, which names them in exactly one way."""
    said = [key for key in ("keyPath", "keyPaths", "keyData", "keyDatas") if key in one]
    if len(said) != 1:
        raise InvalidInput(f"{where}: expected exactly one of keyPath, keyPaths, keyData and keyDatas")
    value = one[said[0]]
    values = value if said[0].endswith("s") and isinstance(value, list) else [value]
    if not values or not all(isinstance(text, str) for text in values):
        raise InvalidInput(f"{where}: {said[0]} is empty, or no text")
    if said[0].startswith("keyPath"):
        return [reading.read_file(text) for text in values]
    return [_decode(text, where) for text in values]


def _decode(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{where}: a key is no base64") from None


def _openpgp_signers(keys: list[bytes], where: str, reading: _Reading) -> list[str]:
    from oci.signing.pgp_keyring import load_pgp_keyring

    names = []
    for raw in keys:
        keyring = load_pgp_keyring(raw, where=where)
        names += [
            _keep(reading, "openpgp", one, {"openpgp": keyring.armored(one)}) for one in sorted(keyring.fingerprints)
        ]
    return list(dict.fromkeys(names))


def _fulcio_signer(one: Mapping[str, Any], where: str, reading: _Reading) -> str:
    fulcio = one["fulcio"]
    _check_keys(fulcio, {"caPath", "caData", "oidcIssuer", "subjectEmail"}, f"{where}: fulcio")
    if any(key in one for key in ("keyPath", "keyPaths", "keyData", "keyDatas")):
        raise InvalidInput(f"{where}: expected keys or fulcio, not both")
    issuer, email = fulcio.get("oidcIssuer"), fulcio.get("subjectEmail")
    if not issuer or not email:
        raise InvalidInput(f"{where}: fulcio names no oidcIssuer, or no subjectEmail")
    authorities = _named_pem(fulcio, "ca", where, reading)
    logs = _named_pem(one, "rekorPublicKey", where, reading)
    known = reading.roots
    if known is None or not set(authorities) <= set(known.authorities) or set(logs) != set(known.logs):
        raise NotExpressible(
            f"{where}: its authority or log is not the one of this installation; set ENTREPOT_SIGSTORE_TRUST_CONFIG to a trust "
            "configuration with exactly them"
        )
    return _keep(reading, "identity", f"{email} {issuer}", {"identity": email, "issuer": issuer})


def _named_pem(one: Mapping[str, Any], name: str, where: str, reading: _Reading) -> tuple[str, ...]:
    found = [key for key in (f"{name}Path", f"{name}Paths", f"{name}Data", f"{name}Datas") if key in one]
    if len(found) != 1:
        raise InvalidInput(f"{where}: expected exactly one of {name}Path and {name}Data")
    value = one[found[0]]
    values = value if isinstance(value, list) else [value]
    raw = [reading.read_file(text) if "Path" in found[0] else _decode(text, where) for text in values]
    return tuple(block for text in raw for block in split_pem(text.decode("ascii", "replace")))


def _name_of(identity: Any, where: str) -> object:
    kind = identity.get("type") if isinstance(identity, dict) else None
    if kind in _NAMES:
        _check_keys(identity, {"type"}, f"{where}: signedIdentity")
        return _NAMES[kind]
    if kind not in _FIXED:
        raise NotExpressible(f"{where}: a signedIdentity of the type {kind!r} cannot be said")
    _check_keys(identity, {"type", *_FIXED[kind]}, f"{where}: signedIdentity")
    return {ours: identity.get(theirs, "") for theirs, ours in _FIXED[kind].items()}


def _keep(reading: _Reading, kind: str, principal: str, signer: dict[str, Any]) -> str:
    """Keep a signer under a name that its key or identity gives; the same one has the same name."""
    name = f"{kind}-{hashlib.sha256(principal.encode()).hexdigest()[:12]}"
    reading.signers[name] = signer
    return name
