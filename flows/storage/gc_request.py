"""The form and the result of a garbage collection."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.units import GRACE, format_size, format_time
from flows.forms.fields import DurationField
from flows.forms.older_parameters import older_names
from flows.forms.shared_fields import DryRun, TimeLimit

if TYPE_CHECKING:
    from catalog.blobs.index import Link
    from catalog.maintenance.garbage_collection import SweepReport


class GcRequest(BaseModel):
    """Free the blobs that no version of any repository holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    _older = model_validator(mode="before")(older_names("collect-garbage"))

    grace: DurationField = Field(
        default=GRACE,
        title="Grace period",
        description="Keep blobs that were uploaded, mounted or copied within this time.",
    )
    time_limit: TimeLimit = "0"
    dry_run: DryRun = False


@dataclass(frozen=True, slots=True)
class GcResult:
    """The end of a garbage collection."""

    report: "SweepReport"
    grace: float
    dry_run: bool
    flow_run_id: str

    def rows(self) -> list[tuple[str, int | None, str]]:
        """Digest, bytes and reason of what goes, and of what only the grace period keeps."""
        going = "would be freed" if self.dry_run else "freed"
        rows: list[tuple[str, int | None, str]] = [
            (blob.digest, blob.size, f"{going}: no version holds it") for blob in self.report.freed
        ]
        return rows + [(lease.digest, None, self._why(lease)) for lease in self.report.leases]

    def _why(self, lease: "Link") -> str:
        until = datetime.fromtimestamp(lease.linked_at + self.grace, UTC)
        return f"kept: leased to {lease.repository} until {format_time(until.replace(microsecond=0))}"

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        report = self.report
        what = "would free" if self.dry_run else "freed"
        said = (
            f"{what} {report.freed_blobs} blobs, {format_size(report.freed_bytes)}, of {report.held} held, "
            f"{format_size(report.held_bytes)}; {report.leased} more are kept by the grace period"
        )
        return said if report.finished else f"{said}; the time was up, and the next run goes on from there"

    def to_json(self) -> dict[str, object]:
        """Return the same for programs; sizes in bytes."""
        report = self.report
        return {
            "dry_run": self.dry_run,
            "freed": {"blobs": report.freed_blobs, "bytes": report.freed_bytes},
            "held": {"blobs": report.held, "bytes": report.held_bytes},
            "kept_by_grace": report.leased,
            "digests": [str(blob.digest) for blob in report.freed],
            "reasons": {digest: reason for digest, _size, reason in self.rows()},
            "finished": report.finished,
            "flow_run_id": self.flow_run_id or None,
        }
