"""The form and the result of a reclaim."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.units import GRACE, format_size
from flows.forms.fields import PathPatternField
from flows.forms.older_parameters import older_names
from flows.forms.parameters import Argument
from flows.forms.shared_fields import CheckUpstream, DryRun, KeepRecent

if TYPE_CHECKING:
    from catalog.blobs.index import BlobRecord


class ReclaimRequest(BaseModel):
    """Free layers that came on demand and can be fetched again."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    _older = model_validator(mode="before")(older_names("reclaim-space"))

    repositories: Annotated[tuple[PathPatternField, ...], Argument("PATTERN")] = Field(
        min_length=1,
        title="Repositories",
        description="Free layers of repositories that match this path pattern, unless others hold them too.",
        examples=["cache/**"],
    )
    keep: KeepRecent = GRACE
    check: CheckUpstream = True
    dry_run: DryRun = False


@dataclass(frozen=True, slots=True)
class ReclaimResult:
    """The end of a reclaim: what was freed, and of what was not the reason."""

    freed: "tuple[BlobRecord, ...]"
    kept: Mapping[str, str]
    dry_run: bool
    flow_run_id: str

    @property
    def freed_bytes(self) -> int:
        """Bytes freed."""
        return sum(blob.size for blob in self.freed)

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        what = "would free" if self.dry_run else "freed"
        said = f"{what} {len(self.freed)} blobs, {format_size(self.freed_bytes)}, which the next pull fetches again"
        return f"{said}; kept {len(self.kept)} that upstream does not give" if self.kept else said

    def to_json(self) -> dict[str, object]:
        """Return the same for programs; sizes in bytes."""
        return {
            "dry_run": self.dry_run,
            "freed": {"blobs": len(self.freed), "bytes": self.freed_bytes},
            "digests": [str(blob.digest) for blob in self.freed],
            "kept": dict(self.kept),
            "flow_run_id": self.flow_run_id or None,
        }
