"""What a garbage collection is asked to do, and what came of it."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from catalog.sweep import SweepReport
from flows.progress import format_bytes


class GcRequest(BaseModel):
    """Free the blobs that no version of any repository holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grace_hours: float = Field(
        default=24.0,
        ge=0.0,
        title="Grace period (hours)",
        description="What was uploaded, mounted or copied later than so long ago stays: its manifest may still come.",
    )
    dry_run: bool = Field(default=False, title="Dry run", description="Say what would be freed, and free nothing.")


@dataclass(frozen=True, slots=True)
class GcResult:
    """The end of a garbage collection."""

    report: SweepReport
    dry_run: bool
    flow_run_id: str

    def summary(self) -> str:
        """One line for a log, a flow run's state and a terminal."""
        report = self.report
        what = "would free" if self.dry_run else "freed"
        return (
            f"{what} {len(report.freed)} blobs, {format_bytes(report.freed_bytes)}, of {report.held} held, "
            f"{format_bytes(report.held_bytes)}; {report.leased} more are kept by the grace period"
        )

    def to_json(self) -> dict[str, object]:
        """The same for programs; sizes in bytes."""
        report = self.report
        return {
            "dry_run": self.dry_run,
            "freed": {"blobs": len(report.freed), "bytes": report.freed_bytes},
            "held": {"blobs": report.held, "bytes": report.held_bytes},
            "kept_by_grace": report.leased,
            "digests": [str(blob.digest) for blob in report.freed],
            "flow_run_id": self.flow_run_id or None,
        }
