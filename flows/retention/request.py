"""The form and the result of a retention run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from flows.forms.fields import PathPatternField
from flows.forms.parameters import Argument
from flows.forms.shared_fields import DryRun

if TYPE_CHECKING:
    from catalog.retention.plan import Item


class RetentionRequest(BaseModel):
    """Apply the rules of retention."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repositories: Annotated[tuple[PathPatternField, ...], Argument("PATTERN")] = Field(
        default=(),
        title="Repositories",
        description="Apply the rules to repositories that match this path pattern. Default: all.",
    )
    dry_run: DryRun = False


@dataclass(frozen=True, slots=True)
class Retained:
    """What retention made of one repository; `version` is the one that it made, 0 for none."""

    repository: str
    items: "tuple[Item, ...]"
    version: int = 0
    error: str = ""

    def count(self, kind: str) -> int:
        """Return how many of a kind are removed."""
        return sum(item.goes and item.kind == kind for item in self.items)


@dataclass(frozen=True, slots=True)
class RetentionResult:
    """The end of a run."""

    repositories: tuple[Retained, ...]
    dry_run: bool
    flow_run_id: str

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        counts = [f"{sum(one.count(kind) for one in self.repositories)} {kind}s" for kind in _KINDS]
        what = "would remove" if self.dry_run else "removed"
        said = f"{what} {', '.join(counts[:-1])} and {counts[-1]} of {len(self.repositories)} repositories"
        failed = [one.repository for one in self.repositories if one.error]
        return f"{said}; {len(failed)} failed: {', '.join(failed[:5])}" if failed else said

    def rows(self) -> list[Mapping[str, object]]:
        """Return the table of what was judged."""
        return [
            {
                "repository": one.repository, "kind": item.kind, "name": item.name,
                "goes": item.goes, "reason": item.reason,
            }
            for one in self.repositories
            for item in one.items
        ]  # fmt: skip

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "dry_run": self.dry_run,
            "items": self.rows(),
            "versions": {one.repository: one.version for one in self.repositories if one.version},
            "errors": {one.repository: one.error for one in self.repositories if one.error},
            "flow_run_id": self.flow_run_id or None,
        }


_KINDS = ("tag", "manifest", "version")
