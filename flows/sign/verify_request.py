"""The form of `entrepot verify`, which runs no flow."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flows.forms.faults import misfit
from flows.forms.fields import SelectorText
from flows.forms.parameters import Argument, Metavar, Option
from flows.forms.shared_fields import Exclude, Include, TrustConfig


class VerifyRequest(BaseModel):
    """Verify that content is signed by a key or an identity, or as a policy requires."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    source: Annotated[SelectorText, Argument("SOURCE", completes="tag")] = Field(
        title="Source", description="Content to verify: `NAME:TAG`, `NAME@DIGEST`, or `NAME` with filters."
    )
    include: Include = ()
    exclude: Exclude = ()
    policy: Annotated[str, Metavar("NAME|FILE")] = Field(
        default="", title="Policy", description="Trust policy that decides: its name, or a file of one."
    )
    explain: bool = Field(default=False, title="Explain", description="With a policy: show each step of the decision.")
    vsa: Annotated[Path | None, Option(absolute=True)] = Field(
        default=None,
        title="Verification summary",
        description="With a policy, and one manifest: write the decision here as a SLSA verification summary.",
    )
    vsa_key: Annotated[Path | None, Option(absolute=True)] = Field(
        default=None,
        title="Key of the summary",
        description="Private key that signs the verification summary, as a sigstore bundle.",
    )
    key: Path | None = Field(default=None, title="Key", description="Public key that must have signed, PEM or OpenPGP.")
    identity: Annotated[str, Option(metavar="NAME")] = Field(
        default="", title="Identity", description="Identity that must have signed keyless."
    )
    issuer: Annotated[str, Option(metavar="URL")] = Field(
        default="", title="Issuer", description="OIDC issuer of the signing identity."
    )
    trust_config: TrustConfig = None

    @model_validator(mode="after")
    def _check_by(self) -> "VerifyRequest":
        if bool(self.key) + bool(self.identity) + bool(self.policy) != 1 or bool(self.identity) != bool(self.issuer):
            raise misfit("expected {key}, or {identity} with {issuer}, or {policy}")
        if (self.explain or self.vsa) and not self.policy:
            raise misfit("{explain} and {vsa} need {policy}")
        if self.vsa_key and not self.vsa:
            raise misfit("{vsa_key} needs {vsa}")
        return self
