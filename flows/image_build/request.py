"""What a build is asked to do: the parameters of the flow."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from catalog.parsed_text import checked
from flows.forms.fields import PlatformText, RepositoryName
from oci.reference import parse_tag


class BuildRequest(BaseModel):
    """Build an image from a Containerfile and make a version with it. Build arguments are recorded: put no secrets there."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    repository: RepositoryName = Field(title="Repository", description="The repository that gets the image.")
    tag: Annotated[str, AfterValidator(checked(parse_tag))] = Field(default="latest", title="Tag")
    context: Path = Field(title="Context", description="Folder on the worker's machine whose files the build may use.")
    containerfile: Path | None = Field(
        default=None, title="Containerfile", description="Empty: `Containerfile` or `Dockerfile` in the context."
    )
    arguments: dict[str, str] = Field(default_factory=dict, title="Build arguments")
    target: str = Field(default="", title="Target", description="Stage of a multi-stage file; empty: the last.")
    platform: PlatformText | None = Field(default=None, title="Platform", description="Empty: that of the machine.")
    key: Path | None = Field(
        default=None, title="Key", description="PEM file that signs the provenance; empty: it is attached unsigned."
    )
