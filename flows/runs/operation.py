"""One change of one repository: planned on its latest version, committed, and planned anew when somebody was quicker."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from catalog.catalog import Catalog
from catalog.content.promotion import Verdict
from catalog.versions.changes import Change, Commit, LatestIs, plan_id
from catalog.versions.snapshot import Delta, Snapshot, delta_between
from catalog.versions.version_origins import VersionOrigin
from flows.runs.plan_items import PlanItem
from oci.errors import Conflict

MAX_PLANS = 10
"""How often a change is planned anew because somebody else made a version meanwhile."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What is to be done to a repository: `plan` gives the changes that lead from its latest version to the wanted one.

    `notes` are remarks for whoever reads the result, `not_selected` the reason for each tag that was left out, `verdicts` what
    gates have said, `refused` the reason for each tag that a trust policy keeps out; `allow_sparse` lets the version lack what
    its source lacked, `donors` are repositories whose blobs it uses, `origins` all places that its content comes from.
    """

    repository: str
    name: str
    message: str
    plan: Callable[[Snapshot], Sequence[Change]]
    allow_sparse: bool = False
    donors: tuple[str, ...] = ()
    origins: tuple[VersionOrigin, ...] = ()
    notes: tuple[str, ...] = ()
    not_selected: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OperationResult:
    """The end of an operation. `version` is the repository's after it, `changed` whether this run made it; `plan` is what the
    plan is known by."""

    repository: str
    operation: str
    base: int
    version: int
    changed: bool
    dry_run: bool
    delta: Delta
    flow_run_id: str = ""
    notes: tuple[str, ...] = ()
    not_selected: Mapping[str, str] = field(default_factory=dict)
    plan: str = ""
    verdicts: tuple[Verdict, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def items(self) -> list[PlanItem]:
        """Return what became of each tag."""
        removed, added = self.delta.tags_removed, self.delta.tags_added
        items = [
            PlanItem(tag, "moved" if tag in removed else "added", digest, removed.get(tag))
            for tag, digest in added.items()
        ]
        items += [PlanItem(tag, "removed", None, digest) for tag, digest in removed.items() if tag not in added]
        changed = {item.tag for item in items}
        items += [PlanItem(tag, "refused", reason=reason) for tag, reason in self.refused.items() if tag not in changed]
        return sorted(items, key=lambda item: item.tag)

    def summary(self) -> str:
        """One line for a log, a flow run's state and a terminal."""
        delta = self.delta
        moved = len(delta.tags_added.keys() & delta.tags_removed.keys())
        counts = {
            "added": len(delta.tags_added) - moved,
            "moved": moved,
            "removed": len(delta.tags_removed) - moved,
            "refused": len(self.refused),
        }
        tags = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no tags changed"
        parts = f"{len(delta.manifests_added)} manifests added, {len(delta.manifests_removed)} removed"
        if self.dry_run:
            return f"dry run of {self.repository} on version {self.base}: {tags}; {parts}"
        if not self.changed:
            refused = f"; {len(self.refused)} refused" if self.refused else ""
            return f"{self.repository}: still version {self.version}, nothing to change{refused}"
        return f"{self.repository}: version {self.version}; {tags}; {parts}"

    def to_json(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "repository": self.repository,
            "operation": self.operation,
            "dry_run": self.dry_run,
            "base_version": self.base,
            "version": self.version,
            "changed": self.changed,
            "tags": {item.tag: item.action for item in self.items},
            "manifests": {"added": len(self.delta.manifests_added), "removed": len(self.delta.manifests_removed)},
            "blobs": {"added": len(self.delta.blobs_added), "removed": len(self.delta.blobs_removed)},
            "bytes": {"added": self.delta.bytes_added, "removed": self.delta.bytes_removed},
            "not_selected": dict(self.not_selected),
            "plan": self.plan or None,
            "flow_run_id": self.flow_run_id or None,
            "notes": list(self.notes),
            **({"gates": [verdict.to_json() for verdict in self.verdicts]} if self.verdicts else {}),
            **({"refused": dict(self.refused)} if self.refused else {}),
        }


def perform(
    catalog: Catalog,
    operation: Operation,
    *,
    actor: str,
    run_id: str,
    now: datetime,
    flow_run_id: str | None = None,
    dry_run: bool = False,
    expected: str = "",
) -> OperationResult:
    """Do it, once per `run_id`: a run that is tried again finds what it has made. With `expected`, do that plan or nothing.

    `flow_run_id` is what Prefect knows the run by, by default the same; empty where it does not know it.

    Raises Conflict when the repository never stops moving or the plan is not the expected one, and what the plan and the commit
    raise.
    """
    recorded = run_id if flow_run_id is None else flow_run_id
    planning = _Planning(catalog, operation, actor, run_id, recorded, now, expected)
    name = operation.repository
    for tries_left in reversed(range(MAX_PLANS)):
        if dry_run or tries_left:
            commit = planning.on(catalog.snapshots.find(name) or Snapshot(name, 0))  # its refusals are no others' haste
            try:
                committed = catalog.commits.preview(commit) if dry_run else catalog.commits.commit(commit)
            except Conflict:
                continue
        else:  # others are always quicker: they wait for this one plan
            committed = catalog.commits.commit_latest(name, planning.on)
        base = planning.base
        return OperationResult(
            name,
            operation.name,
            base.version,
            base.version if dry_run else committed.version,
            committed.changed and not dry_run,
            dry_run,
            delta_between(base, committed.snapshot),
            recorded,
            operation.notes,
            operation.not_selected,
            planning.made,
            operation.verdicts,
            operation.refused,
        )
    raise Conflict(f"{name} was changed by others during {MAX_PLANS} tries in a row; run this again")


class PlanChanged(Conflict):
    """What would be done now is not what was shown."""


class _Planning:
    """Plans an operation on whatever version is the latest, and remembers the last plan."""

    def __init__(
        self,
        catalog: Catalog,
        operation: Operation,
        actor: str,
        run_id: str,
        flow_run_id: str,
        now: datetime,
        expected: str,
    ) -> None:
        self._catalog, self._operation, self._expected = catalog, operation, expected
        self._actor, self._run_id, self._flow_run_id, self._now = actor, run_id, flow_run_id, now
        self.base, self.made = Snapshot(operation.repository, 0), ""

    def on(self, base: Snapshot) -> Commit:
        """The commit for a version; raise PlanChanged when its plan is not the expected one."""
        operation, run_id = self._operation, self._run_id
        changes = tuple(operation.plan(base))
        self.base, self.made = base, plan_id(base, changes)
        expected = self._expected
        if (
            expected
            and self.made != expected
            and self._catalog.history.find_operation(operation.repository, run_id) is None
        ):
            raise PlanChanged(
                f"the plan is not {expected} but {self.made} on version {base.version} of {operation.repository}, for something "
                "has changed since it was made; nothing was done: look at it again with --dry-run"
            )
        return Commit(
            repository=operation.repository,
            operation=operation.name,
            changes=changes,
            requirements=(LatestIs(base.version),),
            operation_id=run_id,
            flow_run_id=self._flow_run_id,
            actor=self._actor,
            message=operation.message,
            created_at=self._now,
            resumable=True,
            allow_sparse=operation.allow_sparse,
            donors=operation.donors,
            version_origins=operation.origins,
        )
