"""The form and the result of a prefetch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from catalog.units import format_size
from flows.forms.fields import PathPatternField
from flows.forms.parameters import Argument
from flows.forms.shared_fields import DryRun
from flows.runs.failures import named
from oci.errors import RemoteError


class PrefetchRequest(BaseModel):
    """Fetch layers that were left upstream, before a client pulls them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repositories: Annotated[tuple[PathPatternField, ...], Argument("PATTERN")] = Field(
        min_length=1,
        title="Repositories",
        description="Fetch for the latest versions of repositories that match this path pattern.",
        examples=["cache/**"],
    )
    dry_run: DryRun = False


class PrefetchFailed(RemoteError):
    """Some layers could not be fetched; the others are here. `detail` gives each one's reason."""

    def __init__(self, failed: Mapping[str, str], fetched: int) -> None:
        super().__init__(
            "\n".join([f"{len(failed)} blobs could not be fetched; {fetched} were, and stay:", *named(failed)]),
            detail={"failed": dict(failed)},
        )


@dataclass(frozen=True, slots=True)
class PrefetchResult:
    """The end of a prefetch; sizes in bytes. `streamed` were left, since their policy is to keep nothing."""

    repositories: int
    blobs: int
    bytes: int
    streamed: int
    dry_run: bool
    flow_run_id: str

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        what = "would fetch" if self.dry_run else "fetched"
        said = f"{what} {self.blobs} blobs, {format_size(self.bytes)}, for {self.repositories} repositories"
        return f"{said}; {self.streamed} are streamed and never kept" if self.streamed else said

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "dry_run": self.dry_run,
            "repositories": self.repositories,
            "fetched": {"blobs": self.blobs, "bytes": self.bytes},
            "streamed": self.streamed,
            "flow_run_id": self.flow_run_id or None,
        }
