"""The form of a restore: the parameters of the flow, the options of the command."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from flows.forms.fields import RepositoryName
from flows.forms.parameters import Argument
from flows.forms.shared_fields import DryRun


class RestoreRequest(BaseModel):
    """Give a repository the tags and manifests of one of its versions, as a new version."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    repository: Annotated[RepositoryName, Argument("NAME", completes="repository")] = Field(
        title="Repository", description="Name of the repository."
    )
    version: Annotated[int, Argument("NUMBER", completes="version")] = Field(
        ge=0, title="Version", description="Version to restore; 0 is the empty one."
    )
    dry_run: DryRun = False
