"""The form of the pipeline: which of its steps have something to work on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from flows.forms.fields import RepositoryName
from flows.forms.order import Shown
from flows.forms.shared_fields import SigningKeyText
from flows.sync.request import SyncRequest


class PipelineRequest(BaseModel):
    """Mirror an upstream, curate it, build on it, sign, attest and export. A step whose field is empty is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    upstream: Annotated[SyncRequest, Shown(("remote", "repository", "include", "platforms"))] = Field(
        title="Upstream", description="Sync that the pipeline begins with. As JSON it takes every field of a sync."
    )
    curated: RepositoryName = Field(
        title="Curated", examples=["curated/app"], description="Repository for what is selected of the mirror."
    )
    newest: int = Field(
        default=1, ge=1, title="Newest", description="Select this many of the newest versions of the mirror."
    )
    built: RepositoryName = Field(
        title="Built", examples=["prod/app"], description="Repository for the image that is built on the newest."
    )
    context: Path | None = Field(
        default=None,
        title="Context",
        description="Build this folder on the worker's machine; its Containerfile has `ARG BASE` and `FROM $BASE`.",
    )
    key: SigningKeyText = Field(default=None, title="Key", description="Sign the image with this PEM key.")
    document: Path | None = Field(default=None, title="Document", description="Attest this SPDX document.")
    bundles: Path | None = Field(
        default=None, title="Bundles", description="Write one bundle of each built version into this folder."
    )


@dataclass(frozen=True, slots=True)
class Step:
    """What one step has done; `is_done` is False where there was nothing to do, or to do it with."""

    name: str
    said: str
    is_done: bool = True


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The end of a pipeline: a line for each step."""

    steps: tuple[Step, ...]

    def summary(self) -> str:
        """Return a line for each step."""
        width = max(len(step.name) for step in self.steps)
        return "\n".join(f"{step.name:<{width}}  {step.said}" for step in self.steps)
