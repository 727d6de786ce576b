"""The form and the result of a migration of the catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from catalog.locations import check_catalog
from catalog.parsed_text import checked
from flows.forms.parameters import Option
from flows.forms.shared_fields import DryRun

if TYPE_CHECKING:
    from catalog.migration.migration import MigrationReport


class MigrateRequest(BaseModel):
    """Move the catalogue to another database; blobs stay where they are."""

    # Whoever types a password into the address is not to find it in a message or in Prefect's parameters.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    to: Annotated[str, AfterValidator(checked(check_catalog)), Option(metavar="CATALOGUE")] = Field(
        title="To",
        description="Move it here: `postgresql://USER@HOST:PORT/DATABASE` or `sqlite:PATH`. The database is empty, the file is "
        "not there yet.",
    )
    password_file: Annotated[Path | None, Option(metavar="FILE", absolute=True)] = Field(
        default=None,
        title="Password file",
        description="File with the password of the PostgreSQL user. Default: ENTREPOT_CATALOG_PASSWORD, its file, else libpq's.",
    )
    dry_run: DryRun = False


@dataclass(frozen=True, slots=True)
class MigrateResult:
    """The end of a migration."""

    report: "MigrationReport"
    dry_run: bool
    flow_run_id: str

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        report = self.report
        if report.was_moved:
            return f"{report.source} has moved to {report.target}; set ENTREPOT_CATALOG to it"
        rows = sum(report.rows.values())
        if self.dry_run:
            return f"would move {rows} rows and {report.files} files of {report.source} to {report.target}"
        return (
            f"moved {rows} rows and {report.files} files of {report.source} to {report.target}; both sides are the same; "
            f"writes waited {report.held:.1f} s; set ENTREPOT_CATALOG to it and restart what uses it"
        )

    def rows(self) -> list[Mapping[str, object]]:
        """Return the table of what was moved."""
        return [{"table": name, "rows": count} for name, count in self.report.rows.items()]

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        report = self.report
        return {
            "dry_run": self.dry_run,
            "source": report.source,
            "target": report.target,
            "was_moved": report.was_moved,
            "rows": dict(report.rows),
            "files": report.files,
            "copied_files": report.copied_files,
            "snapshot": report.snapshot,
            "held_seconds": report.held,
            "flow_run_id": self.flow_run_id or None,
        }
