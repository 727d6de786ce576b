"""The form of a promotion: the parameters of the flow, the options of the command."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from catalog.filters.filter import Filter
from catalog.parsed_text import checked
from flows.forms.faults import misfit
from flows.forms.fields import DurationField, RepositoryName, TagName
from flows.forms.filters import Filters
from flows.forms.modes import Mode
from flows.forms.older_parameters import older_names
from flows.forms.order import FieldOrder
from flows.forms.parameters import Argument, Metavar, Option, SetBy
from flows.forms.shapes import URL_OR_NOTHING, Shape
from flows.forms.shared_fields import Expect, TrustConfig, TrustPolicyName

Label = Annotated[
    str, Field(pattern=r"^[^=]+(=.*)?$", max_length=500), Shape("", ("tier=prod",)), Metavar("KEY[=VALUE]")
]

APPROVAL_TIMEOUT = "1d"
"""How long a promotion waits for an approval where its form says nothing else."""


def _check_hook(url: str) -> None:
    """Raise InvalidInput for an address that is no hook's; empty: there is none."""
    from flows.promote.policy_hook import parse_hook

    if url:
        parse_hook(url)


class PromoteRequest(Filters):
    """Promote content of a repository to another once every gate passes. Nothing is copied; a restore undoes it."""

    _older = model_validator(mode="before")(older_names("promote-content"))
    field_order: ClassVar[FieldOrder] = FieldOrder(
        (
            "tags", "version", "mode", "dry_run", "approval", "require_age", "signed_by_key", "signed_by",
            "signed_identity", "signed_issuer",
            "require_labels", "hook", "include", "exclude", "newest", "platforms",
        ),
        ("approval_timeout", "trust_config", "expect", "not_after"),
    )  # fmt: skip

    source: Annotated[RepositoryName, Argument("SOURCE", completes="repository")] = Field(
        title="Source", description="Repository to promote from."
    )
    repository: Annotated[RepositoryName, Argument("TARGET", completes="repository")] = Field(
        title="Target", description="Repository to promote to; it gets the new version."
    )
    version: Annotated[int | None, Option(metavar="N")] = Field(
        default=None, ge=1, title="Version", description="Promote this version of the source. Default: the latest."
    )
    tags: Annotated[tuple[TagName, ...], Option("--tag")] = Field(
        default=(),
        title="Tags",
        description="Promote this tag; it must exist. Default: what the filters select. Repeatable.",
    )
    mode: Mode = Field(
        default="additive",
        title="Mode",
        description="`mirror` removes other content of the target; `additive` keeps it.",
    )
    signed_by_key: Annotated[tuple[Path, ...], Option("--signed-by-key", absolute=True)] = Field(
        default=(),
        title="Signed by keys",
        description="Gate: signature by this public key, PEM or OpenPGP. Repeatable: each key must have signed.",
    )
    signed_by: TrustPolicyName = Field(
        default="",
        title="Signed as a policy requires",
        description="Gate: this trust policy allows the content in the target. Gates of the target are always asked.",
    )
    signed_identity: Annotated[str, Option(metavar="NAME")] = Field(
        default="", title="Signed by an identity", description="Gate: keyless signature by this identity."
    )
    signed_issuer: Annotated[str, Shape(URL_OR_NOTHING, ("https://accounts.example",)), Option(metavar="URL")] = Field(
        default="", title="Issuer of the identity", description="OIDC issuer of the signing identity."
    )
    trust_config: TrustConfig = None
    require_labels: Annotated[tuple[Label, ...], Option("--require-label")] = Field(
        default=(), title="Required labels", description="Gate: label of each image. Repeatable: all must hold."
    )
    require_age: DurationField = Field(
        default="0",
        title="Required age",
        description="Gate: minimum age of the content in the source repository. `0`: no such gate.",
    )
    hook: Annotated[
        str,
        AfterValidator(checked(_check_hook)),
        Shape(URL_OR_NOTHING, ("https://policy.example/promote",)),
        Option(metavar="URL"),
    ] = Field(
        default="",
        title="Policy hook",
        description="Gate: policy service that allows or refuses the plan. ENTREPOT_PROMOTION_HOOK is always asked.",
    )
    approval: bool = Field(
        default=False,
        title="Approval",
        description="Show the plan in Prefect, and wait until a person approves it.",
    )
    approval_timeout: DurationField = Field(
        default=APPROVAL_TIMEOUT,
        title="Approval timeout",
        description="Fail when nobody has answered within this time.",
    )
    expect: Expect = ""
    not_after: Annotated[AwareDatetime | None, SetBy("page")] = Field(
        default=None,
        title="Not after",
        description="Fail when the run begins later: the rights of who started it may have changed. Default: no limit.",
    )
    dry_run: Annotated[
        bool, Field(title="Dry run", description="Ask the gates, report what would change, and change nothing.")
    ] = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tags and self.wanted != Filter():
            raise misfit("{tags} excludes filters")
        if bool(self.signed_identity) != bool(self.signed_issuer):
            raise misfit("{signed_identity} and {signed_issuer}: expected both or neither")
        if self.trust_config and not self.signed_identity:
            raise misfit("{trust_config} needs {signed_identity}")
        if not self.approval and self.approval_timeout != APPROVAL_TIMEOUT:  # a page fills in the default
            raise misfit("{approval_timeout} needs {approval}")
        if self.approval and self.expect:
            raise misfit("{approval} excludes {expect}: the plan that is approved is the one expected")
        if self.source == self.repository:
            raise misfit(
                "{source} and {repository}: expected two repositories; `entrepot version restore` restores a version"
            )
        return self
