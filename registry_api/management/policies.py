"""Trust policies under /api/v1: administrators set them, and whoever may pull asks what they say of content."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from catalog.filters.selector import Selector
from catalog.policy.gate_rules import gates_of
from catalog.policy.store import StoredPolicy, check_policy_name, policy_facts
from oci.errors import PolicyUnknown
from registry_api.auth.access_controller import is_administrator
from registry_api.management.dependencies import FAILURES, Context, ManagementRoute


class PolicyOut(BaseModel):
    """A policy, without its document."""

    name: str
    digest: str = Field(description="SHA-256 of the canonical form.")
    description: str
    rules: int
    signers: list[str]
    default: str
    set_by: str
    set_at: AwareDatetime


class WholePolicyOut(PolicyOut):
    """A policy with its document."""

    document: dict[str, Any]


class DecisionStepOut(BaseModel):
    """A step of a decision, and the specification that it follows."""

    step: str
    title: str
    source: str
    result: str
    detail: str


class SignatureVerdictOut(BaseModel):
    """A signature or attestation: whether it counts, else at which step it fails and why."""

    form: str
    manifest: str
    says: str
    predicate_type: str
    accepted: bool
    signers: list[str]
    by: list[str]
    name: str
    made_at: AwareDatetime | None
    clock: str
    step: int
    reason: str
    technical: bool


class DecidedBy(BaseModel):
    """The policy of a decision."""

    name: str
    digest: str


class DecisionOut(BaseModel):
    """What a policy says of a manifest, step by step."""

    repository: str
    digest: str
    allowed: bool
    outcome: str
    reason: str
    policy: DecidedBy
    evidence_digest: str
    holds_until: AwareDatetime | None
    steps: list[DecisionStepOut]
    signatures: list[SignatureVerdictOut]


class VerificationOut(BaseModel):
    """What all policies that are asked say of content; without any, `decisions` is empty and nothing is refused."""

    reference: str
    digest: str
    allowed: bool
    decisions: list[DecisionOut]


router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ManagementRoute, responses=FAILURES)
verification_router = APIRouter(prefix="/api/v1", tags=["content"], route_class=ManagementRoute, responses=FAILURES)


@router.get("/policies", response_model=list[PolicyOut])
async def list_policies(context: Context) -> list[dict[str, Any]]:
    """List all trust policies."""
    context.check_administrator()
    return await context.threads.run(
        lambda: [policy_facts(name, one) for name, one in context.catalog.policies.all().items()]
    )


@router.get("/policies/{name}", response_model=WholePolicyOut)
async def show_policy(context: Context, name: str) -> dict[str, Any]:
    """Show one trust policy."""
    context.check_administrator()
    return await context.threads.run(lambda: _whole(name, context.catalog.policies.get(name)))


@router.put("/policies/{name}", response_model=WholePolicyOut)
async def set_policy(
    context: Context,
    request: Request,
    name: str,
    document: dict[str, Any],  # noqa: ARG001  # it limits and describes the body
) -> dict[str, Any]:
    """Set a trust policy; it replaces an earlier one of the name. A key that is unknown, or stands twice, is refused."""
    context.check_administrator()
    check_policy_name(name)
    raw = await request.body()  # a key that stands twice is gone from `document`

    def write() -> dict[str, Any]:
        from catalog.policy.document import parse_policy  # what checks keys is loaded by who needs it

        policy = parse_policy(raw, where="the body")
        stored = context.catalog.policies.set(
            name, policy, actor=context.account, now=context.registry.now(), address=context.address
        )
        return _whole(name, stored)

    return await context.threads.commit(write)


@router.delete("/policies/{name}", status_code=204)
async def remove_policy(context: Context, name: str) -> None:
    """Remove a trust policy."""
    context.check_administrator()
    await context.threads.commit(context.catalog.policies.remove, name)
    context.note("remove-policy", name, detail={})


@verification_router.get("/verify", response_model=VerificationOut)
async def verify_content(
    context: Context,
    reference: Annotated[str, Query(max_length=700, description="NAME:TAG or NAME@DIGEST of a repository.")],
    policy: Annotated[str, Query(max_length=64, description="Name of a policy. Default: all with a rule for it.")] = "",
) -> dict[str, Any]:
    """Explain what trust policies say of content that the caller may pull."""
    selector = Selector.parse(reference)
    context.check("pull", selector.repository)
    may_name_any = is_administrator(context.registry.access.store.policy, context.caller)

    def decide() -> dict[str, Any]:
        snapshot = context.catalog.snapshots.get(selector.repository)
        digest = snapshot.resolve(selector.digest or selector.tag or "latest")
        policies = context.catalog.policies
        if policy and not may_name_any and not _is_about(context, policy, selector.repository):
            raise PolicyUnknown(f"no policy {policy!r} is about {selector.repository}")
        source, now = policies.source(snapshot), context.registry.now()
        found = policies.explain(selector.repository, digest, source, now, name=policy, tag=selector.tag)
        return {
            "reference": reference,
            "digest": digest,
            "allowed": all(one.is_allowed for one in found),
            "decisions": [one.to_json() for one in found],
        }

    return await context.threads.decide(decide)


def _is_about(context: Context, name: str, repository: str) -> bool:
    """Return whether a policy has a rule for a repository, or a gate asks it there; raise PolicyUnknown."""
    records = context.catalog.policies.records
    gates = gates_of(records.gates, repository, repository)
    stored = records.policies.get(name)
    return stored is not None and (
        stored.policy.rule_of(repository) is not None or any(one.rule.policy == name for one in gates)
    )


def _whole(name: str, stored: StoredPolicy) -> dict[str, Any]:
    return {**policy_facts(name, stored), "document": stored.policy.model_dump(mode="json", exclude_defaults=True)}
