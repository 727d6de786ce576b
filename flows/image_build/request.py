"""The form of a build: the parameters of the flow, the options of the command."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from flows.forms.fields import PlatformText, RepositoryName, TagName
from flows.forms.parameters import Argument, Option, SetBy
from flows.forms.shared_fields import SigningKeyText


class BuildRequest(BaseModel):
    """Build an image from a Containerfile and make a version with it. Build arguments are recorded: put no secrets there."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    repository: Annotated[RepositoryName, Argument("NAME[:TAG]", completes="repository")] = Field(
        title="Repository", description="Repository that gets the image. Default tag: `latest`."
    )
    tag: Annotated[TagName, SetBy("NAME[:TAG]")] = Field(default="latest", title="Tag", description="Tag of the image.")
    context: Annotated[Path, Argument("CONTEXT", absolute=True)] = Field(
        title="Context",
        examples=["app"],
        description="Folder on the worker's machine with the files that the build may use.",
    )
    containerfile: Annotated[Path | None, Option("--file", "-f")] = Field(
        default=None,
        title="Containerfile",
        description="Build from this file. Default: `Containerfile` or `Dockerfile` in the context.",
    )
    arguments: Annotated[dict[str, str], Option("--build-arg")] = Field(
        default_factory=dict,
        title="Build arguments",
        description="Set a build argument. It is recorded: pass no secrets. Repeatable.",
    )
    target: Annotated[str, Option(metavar="STAGE")] = Field(
        default="", title="Target", description="Build this stage of a multi-stage file. Default: the last."
    )
    platform: PlatformText | None = Field(
        default=None, title="Platform", description="Build for this platform. Default: the machine's."
    )
    key: SigningKeyText = Field(
        default=None,
        title="Key",
        description="Sign the provenance with this PEM key. Default: the provenance is attached unsigned.",
    )
