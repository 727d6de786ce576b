"""The result of a copy, and how it is shown: as JSON, as a table, as one line."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from catalog.units import format_size
from flows.copy.request import CopyRequest
from flows.runs.failures import named
from flows.runs.plan_items import PlanItem
from flows.runs.plan_tables import item_json
from flows.runs.run_log import RunLog
from oci.errors import RemoteError


@dataclass(frozen=True, slots=True)
class CopyResult:
    """The end of a copy. Sizes in bytes; `moved` is what was written (or would be), `mounted` counts blobs that were not sent."""

    source: str
    target: str
    dry_run: bool
    items: tuple[PlanItem, ...]
    dropped: Mapping[str, str]
    moved_items: int
    moved_bytes: int
    mounted: int
    seconds: float
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        log: RunLog[str],
        request: CopyRequest,
        items: Mapping[str, PlanItem],
        dropped: Mapping[str, str],
        mounted: int,
        started: float,
    ) -> "CopyResult":
        """Sum up what became of all tags; `started` is by `time.monotonic`."""
        sizes = {tag: meter.bytes for tag, meter in log.moved.items()}
        return cls(
            request.origin.name,
            request.destination.name,
            request.dry_run,
            tuple(replace(item, size=sizes.get(tag, 0)) for tag, item in items.items()),
            dropped,
            sum(meter.items for meter in log.moved.values()),
            sum(meter.bytes for meter in log.moved.values()),
            mounted,
            time.monotonic() - started,
            tuple(log.notes),
        )

    @property
    def counts(self) -> Counter[str]:
        """Return the number of tags of each action."""
        return Counter(item.action for item in self.items)

    @property
    def failed(self) -> dict[str, str]:
        """Return the reason for each tag that failed."""
        return {item.tag: item.reason for item in self.items if item.action == "failed"}

    def summary(self) -> str:
        """Return one line for a terminal."""
        counts = ", ".join(f"{count} {action}" for action, count in sorted(self.counts.items())) or "no tags"
        moved = f"{format_size(self.moved_bytes)} in {self.moved_items} items"
        if self.dry_run:
            return (
                f"dry run of {self.source} to {self.target}: {counts}; {moved} to copy, {self.mounted} blobs to mount"
            )
        return f"{self.source} to {self.target}: {counts}; {moved} copied, {self.mounted} blobs mounted, in {self.seconds:.1f} s"

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "source": self.source,
            "target": self.target,
            "dry_run": self.dry_run,
            "tags": dict(self.counts),
            "copied": {"items": self.moved_items, "bytes": self.moved_bytes, "mounted": self.mounted},
            "items": [item_json(item) for item in self.items],
            "not_selected": dict(self.dropped),
            "failed": self.failed,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }


class CopyFailed(RemoteError):
    """Tags could not be copied; `failed` gives each one's reason, `result` what became of all."""

    def __init__(self, failed: Mapping[str, str], result: CopyResult, *, any_set: bool) -> None:
        what = "1 tag" if len(failed) == 1 else f"{len(failed)} tags"
        then = "the others were" if any_set else "so no tag was set"
        super().__init__(
            "\n".join([f"{what} could not be copied, {then}:", *named(failed)]), detail={"failed": dict(failed)}
        )
        self.failed, self.result = dict(failed), result
