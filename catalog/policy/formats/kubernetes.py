"""Policies for clusters: sigstore's policy-controller and Kyverno.

Source: sigstore policy-controller, "ClusterImagePolicy" (policy.sigstore.dev/v1beta1); Kyverno, "ImageValidatingPolicy"
(policies.kyverno.io/v1): its program names an image `ref`, where its guide says `image`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from catalog.policy.document import (
    FAMILIES,
    AttestationRequirement,
    FieldCondition,
    PolicyRule,
    SignatureRequirement,
    TrustPolicy,
)
from catalog.policy.formats.exported import ExportedPolicy, NotExpressible, check_disjoint, registry_of_policy
from catalog.policy.requirements import needed_signers
from catalog.policy.signers import PolicySigner

Requirement = SignatureRequirement | AttestationRequirement
_CONTROLLER, _KYVERNO = "policy-controller", "Kyverno"
_PUBLIC_FULCIO, _PUBLIC_REKOR = "https://fulcio.sigstore.dev", "https://rekor.sigstore.dev"
_SLSA_V1 = "https://slsa.dev/provenance/v1"
_IMAGES = "(images.containers + images.initContainers + images.ephemeralContainers)"
"""Kyverno's expression for those images of a pod that the policy matches."""


def export_policy_controller(policy: TrustPolicy, name: str) -> ExportedPolicy:
    """Return one ClusterImagePolicy for each requirement: all that fit an image must pass. Raise NotExpressible."""
    registry = registry_of_policy(policy, _CONTROLLER)
    check_disjoint(policy.rules, _CONTROLLER)
    made, notes = [], _notes(policy, f"no-match-policy of config-policy-controller: {policy.default}")
    notes += ("signatures and attestations by keys are read under cosign's tags: make them with --form both",)
    for number, rule in enumerate(policy.rules, 1):
        images = [{"glob": glob} for pattern in rule.paths for glob in _globs(registry, pattern, number)]
        for part, authorities in enumerate(_authorities(policy, rule, number), 1):
            made.append(
                {
                    "apiVersion": "policy.sigstore.dev/v1beta1",
                    "kind": "ClusterImagePolicy",
                    "metadata": {"name": f"{name}-{number}-{part}"},
                    "spec": {"mode": "enforce", "images": images, "authorities": authorities},
                }
            )
    return ExportedPolicy(_yaml(made), notes)


def export_kyverno(policy: TrustPolicy, name: str) -> ExportedPolicy:
    """Return one ImageValidatingPolicy for each rule but those that allow; raise NotExpressible."""
    registry = registry_of_policy(policy, _KYVERNO)
    check_disjoint(policy.rules, _KYVERNO)
    notes = _notes(policy, "images that no policy matches are allowed there; add one that denies them")
    notes += (
        "attestations by keys are read from bundles, and so are signatures where an image has any: make them with --form both",
        "an attestation by a signer counts as its signature there",
    )
    made = [
        _kyverno_rule(policy, rule, number, f"{name}-{number}", registry)
        for number, rule in enumerate(policy.rules, 1)
        if rule.action != "allow"
    ]
    if not made:
        raise NotExpressible(
            f"{_KYVERNO} allows images that no policy matches: the policy has no rule that verifies or denies"
        )
    return ExportedPolicy(_yaml(made), notes)


def _notes(policy: TrustPolicy, default: str) -> tuple[str, ...]:
    notes = [f"the default of the policy is not part of the document: {default}"]
    if any(signer.has_certificate for signer in policy.signers.values()):
        notes.append("certificates are verified by the trust root of the cluster, not by that of this installation")
    if any(rule.index == "each" and rule.action == "verify" for rule in policy.rules):
        notes.append("only the manifest that a reference names is verified there: of an index, not its children")
    return tuple(notes)


def _check_common(
    policy: TrustPolicy, requirement: Requirement, target: str, where: str
) -> list[tuple[str, PolicySigner]]:
    """Return the signers of a requirement; raise NotExpressible for what neither target knows."""
    if requirement.is_bound:
        raise NotExpressible(f"{target} knows no times of signatures: {where} has bounds")
    if isinstance(requirement, SignatureRequirement) and requirement.name != "any":
        raise NotExpressible(f"{target} compares no signed names: {where} does")
    signers = [(name, policy.signers[name]) for name in requirement.signers]
    for name, signer in signers:
        if signer.openpgp:
            raise NotExpressible(f"{target} knows no OpenPGP keys: {where} names {name}")
    return signers


# --- policy-controller -------------------------------------------------------------------------------------------


def _globs(registry: str, pattern: str, number: int) -> list[str]:
    if pattern.startswith("re:") or "?" in pattern:
        raise NotExpressible(f"{_CONTROLLER} knows * and ** only: rule {number} has the pattern {pattern}")
    # A glob has to fit the whole reference, and ends with what stands for the tag or the digest.
    base, is_tree = pattern.removesuffix("/**"), pattern.endswith("/**")
    globs = [f"{registry}/{base}{end}" for end in ("", ":**", "@**")] if is_tree or not pattern.endswith("*") else []
    return [*globs, f"{registry}/{pattern}"] if is_tree or not globs else globs


def _authorities(policy: TrustPolicy, rule: PolicyRule, number: int) -> list[list[dict[str, Any]]]:
    """Return the alternatives of each policy that is to be written for a rule."""
    if rule.action != "verify":
        return [[{"name": "static", "static": {"action": "pass" if rule.action == "allow" else "fail"}}]]
    found: list[list[dict[str, Any]]] = []
    requirements: Sequence[Requirement] = (*rule.signatures, *rule.attestations)
    for requirement in requirements:
        where = f"rule {number}"
        signers = _check_common(policy, requirement, _CONTROLLER, where)
        alternatives = [
            [_authority(f"{name}-{place}", one, requirement, where) for place, one in enumerate(_single(signer))]
            for name, signer in signers
        ]
        needed = needed_signers(requirement)
        if needed == len(signers):
            found += alternatives
        elif needed == 1:
            found.append([one for some in alternatives for one in some])
        else:
            raise NotExpressible(f"{_CONTROLLER} knows one or all signers: {where} requires {needed} of {len(signers)}")
    return found


def _single(signer: PolicySigner) -> list[dict[str, Any]]:
    """Return the ways in which a signer signs: each of its keys, or its identity."""
    if signer.keys:
        return [{"key": {"data": pem, "hashAlgorithm": "sha256"}} for pem in signer.keys]
    subject = (
        {"subject": signer.identity} if signer.identity else {"subjectRegExp": whole_pattern(signer.identity_pattern)}
    )
    keyless = {"url": _PUBLIC_FULCIO, "identities": [{"issuer": signer.issuer, **subject}]}
    # A certificate's signature under a tag lacks the proof of the log, here as there: bundles only.
    return [{"keyless": keyless, "ctlog": {"url": _PUBLIC_REKOR}, "signatureFormat": "bundle"}]


def whole_pattern(pattern: str) -> str:
    """Return a pattern that fits whole texts also where alternatives stand at its top: `^a|b$` is `a` or `b`, no more."""
    return f"^(?:{pattern[1:-1]})$"


def _authority(name: str, by: dict[str, Any], requirement: Requirement, where: str) -> dict[str, Any]:
    made = {"name": name, **by}
    if isinstance(requirement, AttestationRequirement):
        predicate_type = _single_type(requirement, _CONTROLLER, where)
        attestation: dict[str, Any] = {"name": "attested", "predicateType": predicate_type}
        if fields := _pointers(requirement, _CONTROLLER, where):
            attestation["policy"] = {"type": "rego", "data": _rego(fields)}
        made["attestations"] = [attestation]
    return made


def _single_type(requirement: AttestationRequirement, target: str, where: str) -> str:
    family = FAMILIES.get(requirement.type)
    if family is None:
        return requirement.type
    if requirement.type == "slsa":
        return _SLSA_V1
    if requirement.type in ("spdx", "cyclonedx"):
        return family[0]
    raise NotExpressible(
        f"{target} knows one predicate type, and {requirement.type} is several: {where} has to name its URI"
    )


def _pointers(requirement: AttestationRequirement, target: str, where: str) -> list[tuple[str, list[Any]]]:
    """Return the fields that have to be one of some values, builders and sources among them."""
    found: list[tuple[str, list[Any]]] = []
    if requirement.builders:
        found.append(("/runDetails/builder/id", list(requirement.builders)))
    if requirement.sources:
        found.append(("/buildDefinition/externalParameters/workflow/repository", list(requirement.sources)))
    found += [(condition.field, _values(condition, target, where)) for condition in requirement.conditions]
    for pointer, _ in found:
        if any(not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", part) for part in pointer.split("/")[1:]):
            raise NotExpressible(f"{target}: the field {pointer} of {where} cannot be named there")
    return found


def _values(condition: FieldCondition, target: str, where: str) -> list[Any]:
    if condition.present:
        raise NotExpressible(f"{target}: that {condition.field} is present cannot be said; {where} does")
    return list(condition.one_of) or [condition.equals]


def _rego(fields: Sequence[tuple[str, list[Any]]]) -> str:
    """Return a module that fails where a field is missing: constraints in CUE, the other language, would fill it in."""
    lines = [
        f"  input.predicate{''.join(f'[{json.dumps(part)}]' for part in pointer.split('/')[1:])} in {json.dumps(values)}"
        for pointer, values in fields
    ]
    head = ["package sigstore", "import rego.v1", "default isCompliant := false", "isCompliant if {"]
    return "\n".join([*head, *lines, "}"]) + "\n"


# --- Kyverno -----------------------------------------------------------------------------------------------------


def _kyverno_rule(policy: TrustPolicy, rule: PolicyRule, number: int, name: str, registry: str) -> dict[str, Any]:
    where = f"rule {number}"
    attestors: dict[str, dict[str, Any]] = {}
    attestations: list[dict[str, Any]] = []
    validations: list[dict[str, str]] = []
    if rule.action == "deny":
        expression = f"{_IMAGES}.all(image, false)"
        validations.append({"expression": expression, "message": f"{where} denies {', '.join(rule.paths)}"})
    requirements: Sequence[Requirement] = (*rule.signatures, *rule.attestations)
    for place, requirement in enumerate(requirements, 1):
        signers = _check_common(policy, requirement, _KYVERNO, where)
        names = []
        for signer_name, signer in signers:
            if len(signer.keys) > 1:
                raise NotExpressible(f"{_KYVERNO} counts each key: {where} names {signer_name}, which has several")
            identifier = re.sub("[^a-z0-9]", "_", f"s_{signer_name}")
            attestors[identifier] = {"name": identifier, "cosign": _attestor(signer)}
            names.append(f"attestors.{identifier}")
        listed, needed = ", ".join(names), needed_signers(requirement)
        if isinstance(requirement, SignatureRequirement):
            call, told = f"verifyImageSignatures(image, [{listed}])", "signed"
        else:
            attested = f"a{place}"
            predicate_type = _single_type(requirement, _KYVERNO, where)
            attestations.append({"name": attested, "intoto": {"type": predicate_type}})
            call, told = (
                f"verifyAttestationSignatures(image, attestations.{attested}, [{listed}])",
                f"attested {predicate_type}",
            )
            validations += [
                {"expression": _cel(attested, pointer, values), "message": f"{where}: {pointer} of {predicate_type}"}
                for pointer, values in _pointers(requirement, _KYVERNO, where)
            ]
        expression = f"{_IMAGES}.map(image, {call}).all(e, e >= {needed})"
        validations.insert(
            0, {"expression": expression, "message": f"{where}: not {told} by {', '.join(requirement.signers)}"}
        )
    spec: dict[str, Any] = {
        "validationActions": ["Deny"],
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["pods"]}
            ]
        },
        "matchImageReferences": [{"expression": _match(registry, rule.paths)}],
        "attestors": list(attestors.values()),
        **({"attestations": attestations} if attestations else {}),
        "validations": validations,
    }
    return {
        "apiVersion": "policies.kyverno.io/v1",
        "kind": "ImageValidatingPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def _attestor(signer: PolicySigner) -> dict[str, Any]:
    if signer.keys:
        return {"key": {"data": signer.keys[0]}, "ctlog": {"insecureIgnoreTlog": True, "insecureIgnoreSCT": True}}
    subject = (
        {"subject": signer.identity} if signer.identity else {"subjectRegExp": whole_pattern(signer.identity_pattern)}
    )
    return {"keyless": {"identities": [{"issuer": signer.issuer, **subject}]}, "ctlog": {"url": _PUBLIC_REKOR}}


def _match(registry: str, patterns: Sequence[str]) -> str:
    """Return the images of a rule, as an expression over their references, with a tag, a digest, both or none."""
    wholes = (f"^{re.escape(registry)}/{glob_expression(one)[1:-1]}(:[^/@]+)?(@[^/@]+)?$" for one in patterns)
    return " || ".join(f"ref.matches({json.dumps(whole)})" for whole in wholes)


_MEANINGS: Mapping[str, str] = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


def glob_expression(pattern: str) -> str:
    """Return a pattern of paths as an anchored regular expression, as RE2 reads it."""
    if pattern.startswith("re:"):
        return whole_pattern(f"^{pattern.removeprefix('re:')}$")
    base = pattern.removesuffix("/**")
    tokens = ["**" if len(token) > 1 else token for token in re.findall(r"\*+|[^*]", base)]
    text = "".join(_MEANINGS.get(token) or re.escape(token) for token in tokens)
    return f"^{text}(/.+)?$" if pattern.endswith("/**") else f"^{text}$"


def _cel(attested: str, pointer: str, values: list[Any]) -> str:
    path = "".join(f".{part}" for part in pointer.split("/")[1:])
    listed = ", ".join(json.dumps(value) for value in values)
    return (
        f"{_IMAGES}.map(image, extractPayload(image, attestations.{attested}).predicate{path}).all(e, e in [{listed}])"
    )


def _yaml(documents: list[dict[str, Any]]) -> str:
    import yaml  # type: ignore[import-untyped]  # it has no types

    text: str = yaml.safe_dump_all(documents, sort_keys=False, width=1000)
    return text
