"""What came of a push, and how it is shown: as JSON, as a table, as one line."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.push.job import PushJob
from flows.runs.failures import named
from flows.runs.plan_items import PlanItem
from flows.runs.plan_tables import MAX_ROWS, important_first, item_json
from flows.runs.progress import format_bytes
from oci.errors import RemoteError


class PushFailed(RemoteError):
    """Tags could not be pushed; `failed` gives each one's reason."""

    def __init__(self, failed: Mapping[str, str], *, registry: str, any_set: bool) -> None:
        what = "1 tag" if len(failed) == 1 else f"{len(failed)} tags"
        then = "the others were" if any_set else "so no tag was set or deleted"
        super().__init__(
            "\n".join([f"{what} could not be pushed, {then}:", *named(failed)]),
            registry=registry,
            detail={"failed": dict(failed)},
        )
        self.failed = dict(failed)


@dataclass(frozen=True, slots=True)
class PushedPath:
    """One path: where it went, what became of each tag; `dropped` has the reason for each tag that was not selected."""

    path: str
    target: str
    version: int
    items: tuple[PlanItem, ...]
    dropped: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """The same for programs."""
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
    def of(cls, job: PushJob, seconds: float, flow_run_id: str = "") -> "PushResult":
        """Sum a job up."""
        charged = [meter for one in job.paths for meter in one.moved.values()]
        paths = [
            PushedPath(
                one.route.path,
                str(one.route.remote.repository_only().reference),
                one.route.version,
                tuple(
                    _measured(item, one.moved[item.tag].bytes if item.tag in one.moved else 0)
                    for item in one.items.values()
                ),
                one.dropped,
            )
            for one in job.paths
        ]
        return cls(
            job.request.target,
            job.request.mode,
            job.request.dry_run,
            tuple(paths),
            tuple(job.not_selected),
            sum(meter.items for meter in charged),
            sum(meter.bytes for meter in charged),
            sum(one.mounted for one in job.paths),
            seconds,
            flow_run_id,
            tuple(job.notes),
        )

    @property
    def counts(self) -> Counter[str]:
        """How many tags there are of each action."""
        return Counter(item.action for one in self.paths for item in one.items)

    @property
    def failed(self) -> dict[str, str]:
        """The reason for each tag that failed."""
        items = ((one, item) for one in self.paths for item in one.items)
        return {f"{one.target}:{item.tag}": item.reason for one, item in items if item.action == "failed"}

    def summary(self) -> str:
        """One line for a log, a flow run's state and a terminal."""
        counts = ", ".join(f"{count} {action}" for action, count in sorted(self.counts.items())) or "no tags"
        paths = "1 path" if len(self.paths) == 1 else f"{len(self.paths)} paths"
        moved = f"{format_bytes(self.moved_bytes)} in {self.moved_items} items"
        if self.dry_run:
            return f"dry run of {paths} to {self.target}: {counts}; {moved} to push, {self.mounted} blobs to mount"
        return (
            f"{paths} to {self.target}: {counts}; {moved} pushed, {self.mounted} blobs mounted, in {self.seconds:.1f} s"
        )

    def to_json(self) -> dict[str, object]:
        """The same for programs."""
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
        """The rows of the result table; beyond `limit`, one row says how many are left out."""
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
        """Each path's items, those first that a reader looks for first."""
        return [(one.path, item) for one in self.paths for item in important_first(one.items)]


def _measured(item: PlanItem, size: int) -> PlanItem:
    return PlanItem(item.tag, item.action, item.digest, item.previous, size, item.reason)
