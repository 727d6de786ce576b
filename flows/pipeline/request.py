"""What the pipeline is asked to do: which of its steps have something to work on."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from flows.forms.fields import RepositoryName
from flows.sync.request import SyncRequest


class PipelineRequest(BaseModel):
    """Mirror an upstream, curate it, build on it, sign, attest and export. A step whose field is empty is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    upstream: SyncRequest = Field(title="Upstream", description="The sync that everything begins with.")
    curated: RepositoryName = Field(title="Curated", description="Repository for what is chosen of the mirror.")
    newest: int = Field(default=1, ge=1, title="Newest", description="How many of the mirror's versions are chosen.")
    built: RepositoryName = Field(title="Built", description="Repository for the image that is built on the newest.")
    context: Path | None = Field(
        default=None,
        title="Context",
        description="Folder with a Containerfile that has `ARG BASE` and `FROM $BASE`; on the worker's machine.",
    )
    key: Path | None = Field(default=None, title="Key", description="PEM file that signs what was built.")
    document: Path | None = Field(default=None, title="Document", description="SPDX document to attest.")
    bundles: Path | None = Field(
        default=None, title="Bundles", description="Folder for one bundle of each version built."
    )


@dataclass(frozen=True, slots=True)
class Step:
    """What one step has done."""

    name: str
    said: str


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The end of a pipeline: a line for each step."""

    steps: tuple[Step, ...]

    def summary(self) -> str:
        """A line for each step."""
        width = max(len(step.name) for step in self.steps)
        return "\n".join(f"{step.name:<{width}}  {step.said}" for step in self.steps)
