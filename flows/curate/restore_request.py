"""What a restore is asked to do: the parameters of the flow."""

from pydantic import BaseModel, ConfigDict, Field

from flows.forms.fields import RepositoryName


class RestoreRequest(BaseModel):
    """Give a repository the tags and manifests of one of its versions, as a new version."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    repository: RepositoryName = Field(title="Repository", description="Name of the repository.")
    version: int = Field(ge=0, title="Version", description="The version whose content is wanted; 0 is the empty one.")
    dry_run: bool = Field(default=False, title="Dry run", description="Say what would change, and change nothing.")
