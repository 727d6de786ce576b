"""The formats that a policy is exported to, by name."""

from typing import Literal, get_args

from catalog.policy.document import TrustPolicy
from catalog.policy.formats.exported import ExportedPolicy
from catalog.policy.formats.root_material import RootMaterial

PolicyFormat = Literal["policy.json", "kyverno", "policy-controller", "notation"]
POLICY_FORMATS: tuple[str, ...] = get_args(PolicyFormat)


def export_trust_policy(
    policy: TrustPolicy, name: str, target: PolicyFormat, *, roots: RootMaterial | None = None
) -> ExportedPolicy:
    """Return a policy in the language of another program; raise NotExpressible, InvalidInput."""
    if target == "policy.json":
        from catalog.policy.formats.policy_json import export_policy_json

        return export_policy_json(policy, roots)
    if target == "notation":
        from catalog.policy.formats.notation import export_notation

        return export_notation(policy, name)
    from catalog.policy.formats.kubernetes import export_kyverno, export_policy_controller

    return export_kyverno(policy, name) if target == "kyverno" else export_policy_controller(policy, name)
