"""The policy document: signers, and rules by path that say what is required; read strictly, with a digest of its meaning.

An unknown key is refused, never ignored: a requirement that is misspelt must not vanish. Source: docs/trust.md, "Reference".
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from catalog.parsed_text import explained
from catalog.path_patterns import PathPattern, matches_any
from catalog.policy.policy_text import MAX_POLICY, load_policy_text
from catalog.policy.signers import PolicySigner
from catalog.unit_fields import Duration
from oci.errors import InvalidInput
from oci.reference import parse_reference

SignerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Threshold = Literal["any", "all"] | Annotated[int, Field(strict=True, ge=1, le=100)]
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "slsa": ("https://slsa.dev/provenance",),
    "spdx": ("https://spdx.dev/Document",),
    "cyclonedx": ("https://cyclonedx.org/bom",),
    "vex": ("https://openvex.dev/ns",),
    "vuln": ("https://cosign.sigstore.dev/attestation/vuln",),
}
"""Short names of predicate types: the URI, alone or with a version behind a slash."""


class PolicyValue(BaseModel):
    """A part of the document."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FixedName(PolicyValue):
    """The name that a signature must state, whatever name the content is pulled by."""

    repository: str = Field(default="", max_length=512, description="A repository: any tag and digest of it.")
    reference: str = Field(default="", max_length=512, description="A reference with its tag or digest.")
    prefix: str = Field(
        default="", max_length=512, description="Names with this prefix are rewritten before they are compared."
    )
    signed_prefix: str = Field(default="", max_length=512, description="Replacement of `prefix`.")

    @model_validator(mode="after")
    def _check_one(self) -> "FixedName":
        said = [bool(self.repository), bool(self.reference), bool(self.prefix or self.signed_prefix)]
        if sum(said) != 1 or bool(self.prefix) != bool(self.signed_prefix):
            raise ValueError("expected one of repository, reference, or prefix with signed_prefix")
        if self.repository:
            found = explained(parse_reference, self.repository)
            if found.tag or found.digest:
                raise ValueError("repository: expected a name without tag and digest")
        if self.reference and not explained(parse_reference, self.reference).tag:
            raise ValueError("reference: expected a name with a tag")
        return self


NameRule = Literal["any", "repository", "reference", "digest-or-reference"] | FixedName


class TimeBounds(PolicyValue):
    """When a signature must have been made; a signature without a signed time satisfies no bound."""

    not_before: AwareDatetime | None = Field(default=None, description="Earliest time, with its offset from UTC.")
    not_after: AwareDatetime | None = Field(default=None, description="Latest time, with its offset from UTC.")
    max_age: Duration | None = Field(default=None, description="Longest time between signature and evaluation.")

    @property
    def is_bound(self) -> bool:
        """Return whether any bound is set."""
        return self.not_before is not None or self.not_after is not None or self.max_age is not None


class SignatureRequirement(TimeBounds):
    """Signatures of the manifest that must be there."""

    signers: tuple[SignerName, ...] = Field(min_length=1, max_length=100, description="Names of signers.")
    threshold: Threshold = Field(default="any", description="`any`, `all`, or how many different signers.")
    name: NameRule = Field(default="any", description="Name that the signature must state.")


class FieldCondition(PolicyValue):
    """What a field of the predicate must be; exactly one of the tests."""

    field: str = Field(pattern=r"^(/([^/~]|~[01])*){1,32}$", max_length=512, description="A JSON Pointer (RFC 6901).")
    equals: str | int | bool | None = Field(default=None, description="The field is this value.")
    one_of: tuple[str, ...] = Field(default=(), max_length=100, description="The field is one of these texts.")
    present: Literal[True] | None = Field(default=None, description="The field is there and is not null.")

    @model_validator(mode="after")
    def _check_one(self) -> "FieldCondition":
        if sum((self.equals is not None, bool(self.one_of), self.present is not None)) != 1:
            raise ValueError("expected exactly one of equals, one_of and present")
        return self


class AttestationRequirement(TimeBounds):
    """An attestation about the manifest that must be there."""

    type: str = Field(min_length=1, max_length=512, description=f"Predicate type: {', '.join(FAMILIES)}, or a URI.")
    signers: tuple[SignerName, ...] = Field(min_length=1, max_length=100, description="Names of signers.")
    threshold: Threshold = Field(default="any", description="`any`, `all`, or how many different signers.")
    builders: tuple[str, ...] = Field(default=(), max_length=100, description="SLSA: the builder's id is one of these.")
    sources: tuple[str, ...] = Field(
        default=(), max_length=100, description="SLSA: the source repository is one of these."
    )
    conditions: tuple[FieldCondition, ...] = Field(default=(), max_length=50, description="Conditions, all of them.")

    @model_validator(mode="after")
    def _check_slsa(self) -> "AttestationRequirement":
        if (self.builders or self.sources) and not self.fits_type("https://slsa.dev/provenance/v1"):
            raise ValueError("builders and sources are fields of SLSA provenance: expected the type slsa")
        return self

    def fits_type(self, predicate_type: str) -> bool:
        """Return whether a predicate type is the one required, or of its family."""
        family = FAMILIES.get(self.type)
        if family is None:
            return predicate_type == self.type
        return any(predicate_type == one or predicate_type.startswith(f"{one}/") for one in family)


class PolicyRule(PolicyValue):
    """What is required of the repositories that fit one of the paths."""

    paths: tuple[PathPattern, ...] = Field(min_length=1, max_length=100, description="Patterns of repositories' paths.")
    action: Literal["verify", "allow", "deny"] = Field(
        default="verify", description="Verify the requirements, or always allow or deny."
    )
    signatures: tuple[SignatureRequirement, ...] = Field(
        default=(), max_length=20, description="All must be satisfied."
    )
    attestations: tuple[AttestationRequirement, ...] = Field(
        default=(), max_length=20, description="All must be satisfied."
    )
    index: Literal["each", "covers-children"] = Field(
        default="each", description="Whether an index that satisfies the rule does so for the manifests that it lists."
    )

    @model_validator(mode="after")
    def _check_content(self) -> "PolicyRule":
        has_some = bool(self.signatures or self.attestations)
        if has_some != (self.action == "verify"):
            raise ValueError("expected signatures or attestations with the action verify, and none with allow or deny")
        return self


class TrustPolicy(PolicyValue):
    """A policy document."""

    version: Literal[1] = Field(description="Version of this language.")
    description: str = Field(default="", max_length=2000, description="Purpose of the policy.")
    registry: str = Field(
        default="",
        pattern=r"^([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])?(:\d{1,5})?$",
        max_length=260,
        description="Host and port by which clients pull, where names are compared.",
    )
    signers: dict[SignerName, PolicySigner] = Field(
        default_factory=dict, max_length=100, description="Signers by name."
    )
    rules: tuple[PolicyRule, ...] = Field(
        default=(), max_length=200, description="The first that matches a path decides."
    )
    default: Literal["deny", "allow"] = Field(default="deny", description="Decision for a path that matches no rule.")

    @field_validator("version", mode="before")
    @classmethod
    def _check_version(cls, value: Any) -> Any:
        if value != 1 or isinstance(value, bool):
            raise ValueError("expected 1, the only version of this language")
        return value

    @model_validator(mode="after")
    def _check_signers(self) -> "TrustPolicy":
        owners: dict[str, str] = {}
        for name, signer in self.signers.items():
            for principal in signer.principals:
                if owners.setdefault(principal, name) != name:
                    raise ValueError(f"signers {owners[principal]} and {name} are the same one: {principal[:100]}")
        for number, rule in enumerate(self.rules, 1):
            for signature in rule.signatures:
                _check_requirement(self, signature, f"rule {number}")
            for attestation in rule.attestations:
                _check_requirement(self, attestation, f"rule {number}")
        return self

    def rule_of(self, repository: str) -> tuple[int, PolicyRule] | None:
        """Return the first rule that a path fits, with its number from 1; None where the default decides."""
        for number, rule in enumerate(self.rules, 1):
            if matches_any(rule.paths, repository):
                return number, rule
        return None

    def canonical(self) -> bytes:
        """Return the document in one form whatever form it was written in: all fields, sorted keys, no blanks."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @property
    def digest(self) -> str:
        """Return `sha256:…` of the canonical form."""
        return f"sha256:{hashlib.sha256(self.canonical()).hexdigest()}"


def _check_requirement(
    policy: TrustPolicy, requirement: SignatureRequirement | AttestationRequirement, where: str
) -> None:
    if unknown := [name for name in requirement.signers if name not in policy.signers]:
        raise ValueError(f"{where} names the signer {unknown[0]}, which signers does not define")
    if len(set(requirement.signers)) != len(requirement.signers):
        raise ValueError(f"{where} names a signer twice")
    if isinstance(requirement.threshold, int) and requirement.threshold > len(requirement.signers):
        raise ValueError(f"{where} requires {requirement.threshold} signers of {len(requirement.signers)}")
    needs = isinstance(requirement, SignatureRequirement) and isinstance(requirement.name, str)
    if needs and requirement.name != "any" and not policy.registry:  # type: ignore[union-attr]  # it is one of signatures
        raise ValueError(f"{where} compares names: set registry to the host and port by which clients pull")


def parse_policy(raw: bytes, *, where: str) -> TrustPolicy:
    """Read a policy in JSON or YAML; raise InvalidInput that names the place of the fault."""
    return make_policy(load_policy_text(raw, where), where=where)


def make_policy(document: Mapping[str, Any], *, where: str) -> TrustPolicy:
    """Check a document that has been read; raise InvalidInput."""
    try:
        made = TrustPolicy.model_validate(document)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        said = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'policy'}: {_plain(one['msg'])}" for one in faults[:5])
        raise InvalidInput(f"{where} is no valid policy: {said}") from None
    if len(made.canonical()) > MAX_POLICY:
        raise InvalidInput(f"{where} is too large: a policy has {MAX_POLICY} bytes at most")
    return made


def _plain(message: str) -> str:
    found = message.removeprefix("Value error, ")
    return "unknown key" if found.startswith("Extra inputs") else re.sub(r"\s+", " ", found)


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Entrepôt trust policy",
        **TrustPolicy.model_json_schema(),
    }
