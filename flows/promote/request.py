"""What a promotion is asked to do: the parameters of the flow."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from catalog.filters.filter import Filter
from catalog.parsed_text import checked
from catalog.units import Duration
from flows.forms.fields import RepositoryName
from flows.forms.filters import Filters
from flows.forms.modes import Mode
from flows.promote.policy_hook import parse_hook
from oci.reference import parse_tag

Label = Annotated[str, Field(pattern=r"^[^=]+(=.*)?$", max_length=500)]


class PromoteRequest(Filters):
    """Give a repository content of another, once every gate has let it through. Nothing is copied; undo it by a restore."""

    source: RepositoryName = Field(title="Source", description="The repository that the content comes from.")
    repository: RepositoryName = Field(title="Target", description="The repository that gets the version.")
    version: int | None = Field(
        default=None, ge=1, title="Version", description="Of the source; empty: its latest version."
    )
    tags: tuple[Annotated[str, AfterValidator(checked(parse_tag))], ...] = Field(
        default=(), title="Tags", description="These tags, each of which must be there; none: by the filters."
    )
    mode: Mode = Field(
        default="additive",
        title="Mode",
        description="`additive` leaves what else the target has; `mirror` makes it exactly what is chosen.",
    )
    signed_by: tuple[Path, ...] = Field(
        default=(),
        title="Signed by keys",
        description="Gate: public keys in files on the worker's machine, PEM or OpenPGP; each must have signed each image.",
    )
    signed_identity: str = Field(
        default="", title="Signed by an identity", description="Gate: who must have signed each image keyless."
    )
    signed_issuer: str = Field(
        default="", title="Issuer of the identity", description="Whom the identity's token must be from."
    )
    trust_config: Path | None = Field(
        default=None,
        title="Trust configuration",
        description="Of a private sigstore, on the worker's machine; empty: ENTREPOT_SIGSTORE_TRUST_CONFIG, else the public one.",
    )
    require_labels: tuple[Label, ...] = Field(
        default=(), title="Required labels", description="Gate: labels that each image must have, `KEY` or `KEY=VALUE`."
    )
    require_age: Duration = Field(
        default="0",
        title="Required age",
        description="Gate: for so long the source must have had each image. 0: no such gate.",
    )
    hook: Annotated[str, AfterValidator(checked(lambda url: parse_hook(url) if url else url))] = Field(
        default="",
        title="Policy hook",
        description="Gate: a URL that is sent the plan and allows or refuses it; ENTREPOT_PROMOTION_HOOK is always asked.",
    )
    dry_run: bool = Field(
        default=False, title="Dry run", description="Ask the gates, say what would change, change nothing."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tags and self.wanted != Filter():
            raise ValueError("name tags, or give filters, not both")
        if bool(self.signed_identity) != bool(self.signed_issuer):
            raise ValueError("an identity and its issuer belong together")
        if self.trust_config and not self.signed_identity:
            raise ValueError("a trust configuration goes with an identity")
        if self.source == self.repository:
            raise ValueError(
                "source and target are the same repository; `entrepot version restore` goes back to a version"
            )
        return self
