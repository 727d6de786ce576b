"""What a reclaim is asked to do, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from catalog.blobs.index import Held
from catalog.path_patterns import PathPattern
from catalog.units import Duration
from flows.forms.fields import PATH_PATTERNS
from flows.runs.progress import format_bytes


class ReclaimRequest(BaseModel):
    """Give back the space of layers that came on demand and can be fetched again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repositories: tuple[PathPattern, ...] = Field(
        min_length=1,
        title="Repositories",
        description=f"Repositories as patterns; what any other repository holds too stays. {PATH_PATTERNS}",
        examples=["cache/**"],
    )
    keep: Duration = Field(
        default="24h",
        title="Keep",
        description="What was fetched or pulled later than so long ago stays.",
    )
    check: bool = Field(
        default=True,
        title="Check",
        description="Ask upstream for each layer, and keep what it does not have any longer.",
    )
    dry_run: bool = Field(default=False, title="Dry run", description="Say what would be freed, and free nothing.")


@dataclass(frozen=True, slots=True)
class ReclaimResult:
    """The end of a reclaim: what was freed, and of what was not the reason."""

    freed: tuple[Held, ...]
    kept: Mapping[str, str]
    dry_run: bool
    flow_run_id: str

    @property
    def freed_bytes(self) -> int:
        """Bytes freed."""
        return sum(blob.size for blob in self.freed)

    def summary(self) -> str:
        """One line for a log, a flow run's state and a terminal."""
        what = "would free" if self.dry_run else "freed"
        said = f"{what} {len(self.freed)} blobs, {format_bytes(self.freed_bytes)}, which the next pull fetches again"
        return f"{said}; kept {len(self.kept)} that upstream does not give" if self.kept else said

    def to_json(self) -> dict[str, object]:
        """The same for programs; sizes in bytes."""
        return {
            "dry_run": self.dry_run,
            "freed": {"blobs": len(self.freed), "bytes": self.freed_bytes},
            "digests": [str(blob.digest) for blob in self.freed],
            "kept": dict(self.kept),
            "flow_run_id": self.flow_run_id or None,
        }
