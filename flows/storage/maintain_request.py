"""The form and the result of a maintenance of the catalogue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.units import GRACE
from flows.forms.fields import DurationField
from flows.forms.older_parameters import older_names
from flows.forms.shared_fields import TimeLimit

if TYPE_CHECKING:
    from catalog.maintenance.compaction import MaintenanceStep


class MaintainRequest(BaseModel):
    """Keep the catalogue small and quick: flush, merge, rewrite, expire, clean."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    _older = model_validator(mode="before")(older_names("maintain-catalog"))

    keep_snapshots: DurationField = Field(
        default="30d",
        title="Keep snapshots",
        description="Keep DuckLake's own snapshots for this time. Versions are kept in any case.",
    )
    grace: DurationField = Field(
        default=GRACE,
        title="Grace period",
        description="End leases, and remove files no longer needed, after this time.",
    )
    time_limit: TimeLimit = "0"


@dataclass(frozen=True, slots=True)
class Done:
    """All steps of one name: how many, what they did in all, and the longest that one of them kept a push waiting, in seconds."""

    name: str
    steps: int
    done: int
    longest: float


@dataclass(frozen=True, slots=True)
class MaintainResult:
    """The end of a maintenance of the catalogue."""

    done: tuple[Done, ...]
    finished: bool
    flow_run_id: str

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        counts = ", ".join(f"{one.name} {one.done}" for one in self.done if one.done) or "nothing to do"
        longest = max((one.longest for one in self.done), default=0.0)
        said = f"{counts}; no push waited longer than {longest:.2f} s for it"
        return said if self.finished else f"{said}; the time was up, and the next run goes on from there"

    def rows(self) -> list[Mapping[str, object]]:
        """Return the table of the steps."""
        return [
            {"step": one.name, "times": one.steps, "done": one.done, "longest hold (s)": round(one.longest, 3)}
            for one in self.done
        ]

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        steps = {
            one.name: {"times": one.steps, "done": one.done, "longest_hold_seconds": one.longest} for one in self.done
        }
        return {"steps": steps, "finished": self.finished, "flow_run_id": self.flow_run_id or None}


def add_up(steps: "Sequence[MaintenanceStep]") -> tuple[Done, ...]:
    """The steps by name, in the order in which they came first."""
    names = dict.fromkeys(step.name for step in steps)
    return tuple(
        Done(name, len(some), sum(step.done for step in some), max(step.seconds for step in some))
        for name in names
        if (some := [step for step in steps if step.name == name])
    )
