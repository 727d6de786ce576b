"""The form of a promotion: the parameters of the flow, the options of the command."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from catalog.filters.filter import Filter
from catalog.parsed_text import checked
from flows.forms.faults import misfit
from flows.forms.fields import DurationField, RepositoryName, TagName
from flows.forms.filters import Filters
from flows.forms.modes import Mode
from flows.forms.older_parameters import older_names
from flows.forms.parameters import Argument, Metavar, Option
from flows.forms.shared_fields import TrustConfig

Label = Annotated[str, Field(pattern=r"^[^=]+(=.*)?$", max_length=500), Metavar("KEY[=VALUE]")]


def _check_hook(url: str) -> None:
    """Raise InvalidInput for an address that is no hook's; empty: there is none."""
    from flows.promote.policy_hook import parse_hook

    if url:
        parse_hook(url)


class PromoteRequest(Filters):
    """Promote content of a repository to another once every gate passes. Nothing is copied; a restore undoes it."""

    _older = model_validator(mode="before")(older_names("promote-content"))

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
    signed_by: Annotated[tuple[Path, ...], Option("--signed-by", absolute=True)] = Field(
        default=(),
        title="Signed by keys",
        description="Gate: signature by this public key, PEM or OpenPGP. Repeatable: each key must have signed.",
    )
    signed_identity: Annotated[str, Option(metavar="NAME")] = Field(
        default="", title="Signed by an identity", description="Gate: keyless signature by this identity."
    )
    signed_issuer: Annotated[str, Option(metavar="URL")] = Field(
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
    hook: Annotated[str, AfterValidator(checked(_check_hook)), Option(metavar="URL")] = Field(
        default="",
        title="Policy hook",
        description="Gate: policy service that allows or refuses the plan. ENTREPOT_PROMOTION_HOOK is always asked.",
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
        if self.source == self.repository:
            raise misfit(
                "{source} and {repository}: expected two repositories; `entrepot version restore` restores a version"
            )
        return self
