"""Notation's trust policy, written as far as it goes: it verifies signatures of Notary, which no policy here names.

Source: notaryproject specifications, trust-store-trust-policy.md.
"""

import json

from catalog.policy.document import TrustPolicy
from catalog.policy.formats.exported import ExportedPolicy, NotExpressible, registry_of_policy

_TARGET = "Notation"


def export_notation(policy: TrustPolicy, name: str) -> ExportedPolicy:
    """Return the rules that allow, as scopes that are not verified; raise NotExpressible for a rule that verifies."""
    registry = registry_of_policy(policy, _TARGET)
    scopes: list[str] = []
    denied: set[str] = set()
    for number, rule in enumerate(policy.rules, 1):
        if rule.action == "verify":
            raise NotExpressible(
                f"{_TARGET} verifies signatures of Notary by X.509 trust stores: rule {number} names signers of cosign, sigstore "
                "or OpenPGP"
            )
        for pattern in rule.paths:
            if pattern.startswith("re:") or "*" in pattern or "?" in pattern:
                raise NotExpressible(f"{_TARGET} names whole repositories: rule {number} has the pattern {pattern}")
            scope = f"{registry}/{pattern}"
            if rule.action == "allow" and scope not in denied and scope not in scopes:
                scopes.append(scope)
            elif rule.action == "deny":
                denied.add(scope)
    if policy.default == "allow":
        raise NotExpressible(f"{_TARGET} fails where no scope fits: the policy's default is allow")
    statement = {"name": name, "registryScopes": scopes, "signatureVerification": {"level": "skip"}}
    if not scopes:
        raise NotExpressible(f"{_TARGET} needs a scope at least: the policy allows nothing")
    document = {"version": "1.0", "trustPolicies": [statement]}
    return ExportedPolicy(
        json.dumps(document, indent=2) + "\n", ("a repository without a scope fails, which denies it",)
    )
