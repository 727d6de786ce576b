"""The result of a push, and how it is shown: as JSON, as a table, as one line."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from catalog.units import format_size
from flows.push.context import PushContext
from flows.push.selection import SelectedRoutes
from flows.push.tagging import TaggedPath
from flows.runs.failures import named
from flows.runs.plan_items import PlanItem
from flows.runs.plan_tables import MAX_ROWS, important_first, item_json
from oci.errors import RemoteError


@dataclass(frozen=True, slots=True)
class PushedPath:
    """The result of one path: where it went, what became of each tag; `dropped` has reasons of tags that were not selected."""

    path: str
    target: str
    version: int
    items: tuple[PlanItem, ...]
    dropped: Mapping[str, str]

    @classmethod
    def of(cls, context: PushContext, tagged: TaggedPath) -> "PushedPath":
        """Return what became of a path, with the bytes that were sent for each tag."""
        route, moved = tagged.route, context.log.moved
        sizes = {tag: meter.bytes for (path, tag), meter in moved.items() if path == route.path}
        return cls(
            route.path,
            str(route.remote.repository_only().reference),
            route.version,
            tuple(replace(item, size=sizes.get(item.tag, 0)) for item in tagged.items.values()),
            tagged.pushed.compared.dropped,
        )

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "path": self.path,
            "target": self.target,
            "version": self.version,
            "items": [item_json(item) for item in self.items],
            "not_selected": dict(self.dropped),
        }


@dataclass(frozen=True, slots=True)
class PushResult:
    """The end of a push. Sizes in bytes; `moved` is what was uploaded (or would be), `mounted` counts blobs that were not."""

    target: str
    mode: str
    dry_run: bool
    paths: tuple[PushedPath, ...]
    not_selected: tuple[str, ...]
    moved_items: int
    moved_bytes: int
    mounted: int
    seconds: float
    flow_run_id: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        context: PushContext,
        selected: SelectedRoutes,
        paths: Sequence[TaggedPath],
        *,
        seconds: float,
        flow_run_id: str,
    ) -> "PushResult":
        """Sum up what became of all paths."""
        request, moved = context.request, context.log.moved
        return cls(
            request.target,
            request.mode,
            request.dry_run,
            tuple(PushedPath.of(context, tagged) for tagged in paths),
            selected.not_selected,
            sum(meter.items for meter in moved.values()),
            sum(meter.bytes for meter in moved.values()),
            sum(tagged.pushed.mounted for tagged in paths),
            seconds,
            flow_run_id,
            tuple(context.log.notes),
        )

    @property
    def counts(self) -> Counter[str]:
        """Return the number of tags of each action."""
        return Counter(item.action for one in self.paths for item in one.items)

    @property
    def failed(self) -> dict[str, str]:
        """Return the reason for each tag that failed."""
        items = ((one, item) for one in self.paths for item in one.items)
        return {f"{one.target}:{item.tag}": item.reason for one, item in items if item.action == "failed"}

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        counts = ", ".join(f"{count} {action}" for action, count in sorted(self.counts.items())) or "no tags"
        paths = "1 path" if len(self.paths) == 1 else f"{len(self.paths)} paths"
        moved = f"{format_size(self.moved_bytes)} in {self.moved_items} items"
        if self.dry_run:
            return f"dry run of {paths} to {self.target}: {counts}; {moved} to push, {self.mounted} blobs to mount"
        return (
            f"{paths} to {self.target}: {counts}; {moved} pushed, {self.mounted} blobs mounted, in {self.seconds:.1f} s"
        )

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "target": self.target,
            "mode": self.mode,
            "dry_run": self.dry_run,
            "tags": dict(self.counts),
            "pushed": {"items": self.moved_items, "bytes": self.moved_bytes, "mounted": self.mounted},
            "paths": [one.to_json() for one in self.paths],
            "not_selected": list(self.not_selected),
            "failed": self.failed,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
            "flow_run_id": self.flow_run_id or None,
        }

    def rows(self, *, limit: int = MAX_ROWS) -> list[Mapping[str, object]]:
        """Return the rows of the result table; beyond `limit`, one row says how many are left out."""
        rows: list[Mapping[str, object]] = [
            {
                "path": path,
                "tag": item.tag,
                "action": item.action,
                "digest": str(item.digest or item.previous or ""),
                "bytes": item.size,
                "reason": item.reason,
            }
            for path, item in self.important()[:limit]
        ]
        left = sum(len(one.items) for one in self.paths) - len(rows)
        if left:
            rows.append({"path": "…", "tag": "", "action": "", "digest": "", "bytes": 0, "reason": f"{left} more tags"})
        return rows

    def important(self) -> Sequence[tuple[str, PlanItem]]:
        """Return each path's items, the important ones first."""
        return [(one.path, item) for one in self.paths for item in important_first(one.items)]


class PushFailed(RemoteError):
    """Tags could not be pushed; `failed` gives each one's reason, `result` what became of all."""

    def __init__(self, failed: Mapping[str, str], result: PushResult, *, registry: str, any_set: bool) -> None:
        what = "1 tag" if len(failed) == 1 else f"{len(failed)} tags"
        then = "the others were" if any_set else "so no tag was set or deleted"
        super().__init__(
            "\n".join([f"{what} could not be pushed, {then}:", *named(failed)]),
            registry=registry,
            detail={"failed": dict(failed)},
        )
        self.failed, self.result = dict(failed), result
