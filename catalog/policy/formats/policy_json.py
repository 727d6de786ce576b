"""Containers' policy.json, written: what podman, skopeo, CRI-O and buildah pull by. Source: containers-policy.json(5)."""

import base64
import json
from collections.abc import Mapping

from catalog.policy.document import FixedName, NameRule, PolicyRule, SignatureRequirement, TrustPolicy
from catalog.policy.formats.exported import ExportedPolicy, NotExpressible, registry_of_policy
from catalog.policy.formats.root_material import RootMaterial
from catalog.policy.requirements import needed_signers
from catalog.policy.signers import PolicySigner

_TARGET = "policy.json"
_NAMES = {"repository": "matchRepository", "reference": "matchExact", "digest-or-reference": "matchRepoDigestOrExact"}
Requirements = list[dict[str, object]]


def export_policy_json(policy: TrustPolicy, roots: RootMaterial | None) -> ExportedPolicy:
    """Return the document; raise NotExpressible, InvalidInput. `roots` are needed for identities."""
    registry = registry_of_policy(policy, _TARGET)
    scopes: dict[str, Requirements] = {}
    alone: set[str] = set()
    notes = ["the document rejects images of all other registries; merge its scopes into your own default"]
    for number, rule in enumerate(policy.rules, 1):
        requirements = _requirements_of(policy, rule, f"rule {number}", roots)
        for pattern in rule.paths:
            scope = _scope_of(registry, pattern, f"rule {number}")
            if scope in scopes:
                if pattern.endswith("/**") and scope in alone and scopes[scope] != requirements:
                    raise NotExpressible(
                        f"{_TARGET} has one scope for {scope} and what is below it, and rule {number} ({pattern}) says "
                        "something else than the rule before for the repository alone"
                    )
                continue  # an earlier rule decides about it, here as there
            if above := next((one for one in scopes if scope.startswith(f"{one}/")), None):
                raise NotExpressible(
                    f"{_TARGET} takes the longest scope that fits, and rule {number} ({pattern}) comes after {above}"
                )
            scopes[scope] = requirements
            if not pattern.endswith("**"):
                alone.add(scope)
                notes.append(f"the scope {scope} holds for repositories below it too, rule {number} for itself alone")
    scopes.setdefault(registry, [{"type": "reject" if policy.default == "deny" else "insecureAcceptAnything"}])
    if any(one["type"] == "sigstoreSigned" for found in scopes.values() for one in found):
        notes.append(
            f"podman and skopeo look for cosign's signatures under tags, and only with `use-sigstore-attachments: true` for "
            f"{registry} in /etc/containers/registries.d"
        )
    if any(one["type"] == "signedBy" for found in scopes.values() for one in found):
        notes.append(
            "podman 4 and skopeo 1.9 accept signatures by an OpenPGP key itself, and refuse those by its subkeys"
        )
    document = {"default": [{"type": "reject"}], "transports": {"docker": scopes}}
    return ExportedPolicy(json.dumps(document, indent=2) + "\n", tuple(notes))


def _scope_of(registry: str, pattern: str, where: str) -> str:
    base = pattern.removesuffix("/**")
    if pattern == "**":
        return registry
    if pattern.startswith("re:") or "*" in base or "?" in base:
        raise NotExpressible(f"{_TARGET} knows whole namespaces only: {where} has the pattern {pattern}")
    return f"{registry}/{base}"


def _requirements_of(policy: TrustPolicy, rule: PolicyRule, where: str, roots: RootMaterial | None) -> Requirements:
    if rule.action != "verify":
        return [{"type": "insecureAcceptAnything" if rule.action == "allow" else "reject"}]
    if rule.attestations:
        raise NotExpressible(f"{_TARGET} knows no attestations: {where} requires {rule.attestations[0].type}")
    if rule.index == "covers-children":
        raise NotExpressible(
            f"{_TARGET} judges the image of the platform, never its index: {where} lets indexes cover them"
        )
    return [made for one in rule.signatures for made in _requirement_of(policy, one, where, roots)]


def _requirement_of(
    policy: TrustPolicy, requirement: SignatureRequirement, where: str, roots: RootMaterial | None
) -> Requirements:
    if requirement.is_bound:
        raise NotExpressible(f"{_TARGET} knows no times of signatures: {where} has bounds")
    signers = {name: policy.signers[name] for name in requirement.signers}
    identity = _identity_of(requirement.name, where)
    needed = needed_signers(requirement)
    if needed == len(signers):
        return [_by_one_of([signer], where, roots) | {"signedIdentity": identity} for signer in signers.values()]
    if needed > 1:
        raise NotExpressible(f"{_TARGET} knows one or all signers: {where} requires {needed} of {len(signers)}")
    return [_by_one_of(list(signers.values()), where, roots) | {"signedIdentity": identity}]


def _by_one_of(signers: list[PolicySigner], where: str, roots: RootMaterial | None) -> dict[str, object]:
    if all(one.keys for one in signers):
        keys = [base64.b64encode(pem.encode()).decode() for one in signers for pem in one.keys]
        return {"type": "sigstoreSigned", **({"keyData": keys[0]} if len(keys) == 1 else {"keyDatas": keys})}
    if all(one.openpgp for one in signers):
        return {"type": "signedBy", "keyType": "GPGKeys", "keyData": _keyring(signers)}
    if len(signers) > 1:
        raise NotExpressible(
            f"{_TARGET} takes any of several keys of one kind only: {where} names signers of several kinds"
        )
    return _by_identity(signers[0], where, roots)


def _keyring(signers: list[PolicySigner]) -> str:
    from oci.signing.pgp_keyring import load_pgp_keyring

    found = b"".join(
        load_pgp_keyring(one.openpgp.encode(), where="openpgp").binary(fingerprint)
        for one in signers
        for fingerprint in sorted(one.openpgp_fingerprints)
    )
    return base64.b64encode(found).decode()


def _by_identity(signer: PolicySigner, where: str, roots: RootMaterial | None) -> dict[str, object]:
    if not signer.identity or "@" not in signer.identity or "://" in signer.identity:
        raise NotExpressible(
            f"{_TARGET} knows identities that are mail addresses: {where} names {signer.identity or signer.identity_pattern}"
        )
    if roots is None or not roots.authorities or len(roots.logs) != 1:
        raise NotExpressible(
            f"{_TARGET} carries the authority and the key of one log: {where} needs ENTREPOT_SIGSTORE_TRUST_CONFIG with them"
        )
    authorities = "\n".join(roots.authorities) + "\n"
    fulcio = {
        "caData": base64.b64encode(authorities.encode()).decode(),
        "oidcIssuer": signer.issuer,
        "subjectEmail": signer.identity,
    }
    log = base64.b64encode(f"{roots.logs[0]}\n".encode()).decode()
    return {"type": "sigstoreSigned", "fulcio": fulcio, "rekorPublicKeyData": log}


def _identity_of(rule: NameRule, where: str) -> Mapping[str, str]:
    if isinstance(rule, FixedName):
        if rule.repository:
            return {"type": "exactRepository", "dockerRepository": rule.repository}
        if rule.reference:
            return {"type": "exactReference", "dockerReference": rule.reference}
        return {"type": "remapIdentity", "prefix": rule.prefix, "signedPrefix": rule.signed_prefix}
    if rule == "any":
        raise NotExpressible(
            f"{_TARGET} always compares the signed name: give the signatures of {where} `name: repository` or another"
        )
    return {"type": _NAMES[rule]}
