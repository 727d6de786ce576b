"""The result of a sync, and how it is shown: as JSON, as a table, as one line."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from catalog.filters.tags import Selection
from catalog.units import format_size
from catalog.versions.changes import CommitResult
from flows.runs.plan_items import PlanItem
from flows.runs.plan_tables import ORDER, item_json
from flows.sync.context import SyncContext
from flows.sync.planning import SyncPlan


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The end of a sync. `version` is the repository's after it (0: it has none), `changed` whether this run made it."""

    repository: str
    remote: str
    mode: str
    dry_run: bool
    base: int
    version: int
    changed: bool
    items: tuple[PlanItem, ...]
    dropped: Mapping[str, str]
    moved_items: int
    moved_bytes: int
    seconds: float
    flow_run_id: str
    notes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        context: SyncContext,
        selection: Selection,
        plan: SyncPlan,
        committed: CommitResult | None,
        seconds: float,
    ) -> "SyncResult":
        """Return the result of a plan; nothing was committed in a dry run."""
        request, moved = context.request, context.log.moved
        return cls(
            repository=context.target,
            remote=str(request.reference),
            mode=request.mode,
            dry_run=request.dry_run,
            base=plan.base,
            version=committed.version if committed else plan.base,
            changed=committed.changed if committed else False,
            items=tuple(replace(item, size=moved[item.tag].bytes if item.tag in moved else 0) for item in plan.items),
            dropped=selection.dropped,
            moved_items=sum(meter.items for meter in moved.values()),
            moved_bytes=sum(meter.bytes for meter in moved.values()),
            seconds=seconds,
            flow_run_id=context.flow_run_id,
            notes=tuple(context.log.notes),
            also=tuple(str(one.reference) for one in request.each_alone()[1:]),
        )

    def with_wait(self, seconds: float) -> "SyncResult":
        """Return the result with a note that upstream allowed no more requests for a while."""
        if seconds < 1:
            return self
        return replace(self, notes=(*self.notes, f"waited {seconds:.0f} s, for upstream allows no more requests"))

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of tags of each action; every action is there."""
        return {action: sum(1 for item in self.items if item.action == action) for action in reversed(ORDER)}

    @property
    def failed(self) -> dict[str, str]:
        """Return the tags that are missing, with the reason for each."""
        return {item.tag: item.reason for item in self.items if item.action == "failed"}

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        counts = ", ".join(f"{count} {action}" for action, count in self.counts.items() if count) or "no tags"
        moved = f"{format_size(self.moved_bytes)} in {self.moved_items} items"
        if self.dry_run:
            return f"dry run of {self.repository} on version {self.base}: {counts}; {moved} to copy"
        state = f"version {self.version}" if self.changed else f"still version {self.version}, nothing to change"
        return f"{self.repository}: {state}; {counts}; {moved} copied in {self.seconds:.1f} s"

    def to_json(self) -> dict[str, object]:
        """Return the same for programs. Sizes are in bytes; a digest that is not there is null."""
        return {
            "repository": self.repository,
            "remote": self.remote,
            "also": list(self.also),
            "mode": self.mode,
            "dry_run": self.dry_run,
            "base_version": self.base,
            "version": self.version,
            "changed": self.changed,
            "tags": self.counts,
            "not_selected": dict(self.dropped),
            "copied": {"items": self.moved_items, "bytes": self.moved_bytes},
            "seconds": round(self.seconds, 3),
            "flow_run_id": self.flow_run_id or None,
            "failed": self.failed,
            "notes": list(self.notes),
            "items": [item_json(item) for item in self.items],
        }
