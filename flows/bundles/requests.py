"""The forms and the results of an export and an import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.units import format_size
from flows.forms.faults import misfit
from flows.forms.fields import RepositoryName
from flows.forms.filters import Filters
from flows.forms.modes import Mode
from flows.forms.order import FieldOrder
from flows.forms.parameters import Argument, Option
from flows.forms.shared_fields import TrustPolicyName

if TYPE_CHECKING:
    from catalog.bundles.format import Contents
    from catalog.bundles.writer import ExportedVersion
    from flows.runs.operation import OperationResult


class ExportRequest(Filters):
    """Write versions of repositories, or what filters select of them, into a bundle."""

    field_order: ClassVar[FieldOrder] = FieldOrder(("version", "since", "signed_by"))

    bundle: Annotated[Path, Argument("BUNDLE")] = Field(
        title="Bundle",
        examples=["app-7.tar"],
        description="Bundle to write on the worker's machine: a folder, or a file ending in `.tar`. It must not exist yet.",
    )
    repositories: Annotated[tuple[RepositoryName, ...], Argument("NAME", completes="repository")] = Field(
        min_length=1, title="Repositories", description="Repositories to export."
    )
    version: Annotated[int | None, Option(metavar="N")] = Field(
        default=None, ge=0, title="Version", description="Export this version of one repository. Default: the latest."
    )
    since: Annotated[int, Option(metavar="N")] = Field(
        default=0, ge=0, title="Since", description="Leave out what this version of one repository already has."
    )
    signed_by: TrustPolicyName = Field(
        default="", title="Signed by", description="Leave out tags whose image this trust policy refuses."
    )

    @model_validator(mode="after")
    def _check_one(self) -> "ExportRequest":
        if len(self.repositories) > 1 and (self.version is not None or self.since):
            raise misfit("{version} and {since}: expected one repository")
        return self

    def versions(self) -> "list[ExportedVersion]":
        """Return what to export of each repository."""
        from catalog.bundles.writer import ExportedVersion

        return [
            ExportedVersion(name, self.version, self.since, self.wanted, self.platform_filter)
            for name in self.repositories
        ]


class ImportRequest(BaseModel):
    """Import a bundle: each repository in it gets one version."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bundle: Annotated[Path, Argument("BUNDLE")] = Field(
        title="Bundle",
        examples=["app-7.tar"],
        description="Bundle on the worker's machine: a folder, or a file ending in `.tar`.",
    )
    mode: Mode = Field(
        default="mirror",
        title="Mode",
        description="`mirror` makes each version exactly the bundle's; `additive` keeps what is there.",
    )
    signed_by: TrustPolicyName = Field(
        default="",
        title="Signed by",
        description="Leave out tags whose image this trust policy refuses; a tag that is here stays as it is.",
    )
    dry_run: Annotated[
        bool,
        Field(
            title="Dry run", description="Check the bundle's document, base and signatures only, and change nothing."
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A bundle that was written."""

    bundle: Path
    contents: "Contents"
    flow_run_id: str
    not_selected: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        versions = ", ".join(
            f"{one.repository} version {one.version}" + (f" since {one.since}" if one.since else "")
            for one in self.contents.versions
        )
        refused = f"; {len(self.refused)} refused by trust policies" if self.refused else ""
        size = f"{format_size(self.contents.bytes)} in {len(self.contents.blobs)} blobs"
        return f"{self.bundle}: {versions}; {size}{refused}"

    def to_json(self) -> dict[str, object]:
        """Return the same for programs; sizes in bytes."""
        return {
            "bundle": str(self.bundle),
            "versions": [
                {"repository": one.repository, "version": one.version, "since": one.since, "tags": len(one.tags)}
                for one in self.contents.versions
            ],
            "blobs": {"count": len(self.contents.blobs), "bytes": self.contents.bytes},
            "not_selected": dict(self.not_selected),
            "refused": dict(self.refused),
            "notes": list(self.notes),
            "flow_run_id": self.flow_run_id or None,
        }


@dataclass(frozen=True, slots=True)
class ImportResult:
    """A bundle that was imported; one result per repository. `refused` has all that trust policies keep out, by `NAME:TAG`."""

    bundle: Path
    results: "tuple[OperationResult, ...]"
    flow_run_id: str
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        return "; ".join(result.summary() for result in self.results) or f"{self.bundle} holds no repository"

    def to_json(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {
            "bundle": str(self.bundle),
            "repositories": [result.to_json() for result in self.results],
            "refused": dict(self.refused),
            "notes": list(self.notes),
            "flow_run_id": self.flow_run_id or None,
        }
