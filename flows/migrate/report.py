"""The plan and the result of a migration, and how both are shown: as JSON, as a table, as one line."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from catalog.units import format_size
from flows.migrate.comparison import Compared
from flows.runs.failures import named
from flows.runs.plan_tables import MAX_ROWS
from oci.errors import RemoteError

ORDER = ("failed", "to migrate", "migrated", "unchanged", "left out")
"""What may become of a repository, in the order in which a reader looks for it."""

MAX_FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PlannedRepository:
    """What a source has of one repository. `bytes` counts each blob of the source once in all; `to_copy` those not here yet.

    `faults` are broken tags and digests with the reasons, of which `fault_count` are there; `sparse` counts manifests that
    indexes list and the source itself lacks. `version` is the latest here; 0: the repository is new.
    """

    name: str
    target: str = ""
    tags: int = 0
    untagged: int = 0
    manifests: int = 0
    bytes: int = 0
    to_copy: int = 0
    faults: Mapping[str, str] = field(default_factory=dict)
    fault_count: int = 0
    sparse: int = 0
    version: int = 0
    private: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MigratedRepository:
    """What became of one repository. `skipped` are tags and digests that were left out as broken, with the reasons."""

    planned: PlannedRepository
    outcome: str = "to migrate"
    version: int = 0
    copied: int = 0
    error: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict)
    compared: Compared | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Return whether it neither failed nor differs from the source."""
        return self.outcome != "failed" and not (self.compared and self.compared.different)

    def row(self) -> dict[str, object]:
        """Return the row of the result table."""
        planned = self.planned
        return {
            "repository": planned.target or planned.name,
            "outcome": self.outcome,
            "version": self.version,
            "tags": planned.tags,
            "untagged": planned.untagged,
            "bytes": planned.bytes,
            "broken": planned.fault_count,
            "note": " ".join(self.remark().split())[:1000],
        }

    def remark(self) -> str:
        """Return in words what is to be said of it; empty for nothing."""
        if self.error:
            return self.error
        if self.compared and self.compared.different:
            first = self.compared.differences[0]
            return f"{self.compared.different} differ from the source, such as: {first}"
        if self.planned.fault_count:
            name, reason = next(iter(self.planned.faults.items()), ("", ""))
            return f"{self.planned.fault_count} broken, such as {name}: {reason}"
        return ""

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        planned = asdict(self.planned)
        compared = self.compared
        return {
            **planned,
            "notes": [*self.planned.notes, *self.notes],
            "repository": planned.pop("target") or planned["name"],
            "outcome": self.outcome,
            "version": self.version,
            "copied_bytes": self.copied,
            "error": self.error,
            "skipped": dict(self.skipped),
            "compared": None
            if compared is None
            else {
                "count": compared.count,
                "different": compared.different,
                "differences": [
                    {"name": one.name, "source": one.source, "here": one.here} for one in compared.differences
                ],
                "only_here": compared.only_here,
            },
        }


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """The end of a migration, or its plan where it was a dry run.

    `not_taken` are settings without a counterpart here, each a sentence; `taken` those that were taken along, or would be.
    """

    kind: str
    source: str
    dry_run: bool
    repositories: tuple[MigratedRepository, ...]
    not_selected: tuple[str, ...]
    seconds: float
    flow_run_id: str
    taken: tuple[str, ...] = ()
    not_taken: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    chunks: int = 0

    @property
    def failed(self) -> dict[str, str]:
        """Return the repositories that failed or differ from the source, with the reason for each."""
        return {one.planned.target or one.planned.name: one.remark() for one in self.repositories if not one.is_good}

    @property
    def is_equal(self) -> bool:
        """Return whether all that was selected is served here as the source has it, broken parts that were skipped aside."""
        return not self.dry_run and not self.failed

    def important_first(self) -> list[MigratedRepository]:
        """Return the repositories by what a reader looks for first, then by name."""
        return sorted(
            self.repositories,
            key=lambda one: (one.is_good, ORDER.index(one.outcome), one.planned.target or one.planned.name),
        )

    def rows(self, *, limit: int = MAX_ROWS) -> list[dict[str, object]]:
        """Return the rows of the result table; beyond `limit`, one row says how many are left out."""
        rows = [one.row() for one in self.important_first()[:limit]]
        if len(self.repositories) > limit:
            left = f"{len(self.repositories) - limit} more repositories"
            rows.append({**dict.fromkeys(rows[0], ""), "repository": "…", "note": left})
        return rows

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        counts = Counter(one.outcome for one in self.repositories)
        said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ORDER if counts[outcome]) or "nothing selected"
        planned = [one.planned for one in self.repositories]
        what = f"{len(planned)} repositories of {self.source}"
        if self.dry_run:
            tags, bytes_ = sum(one.tags for one in planned), sum(one.bytes for one in planned)
            left = f"{format_size(sum(one.to_copy for one in planned))} to copy"
            return f"plan for {what}: {said}; {tags} tags, {format_size(bytes_)}, {left}; {self._broken()}"
        compared = sum(one.compared.count for one in self.repositories if one.compared)
        verdict = "equal to the source" if self.is_equal else "not all equal to the source"
        copied = format_size(sum(one.copied for one in self.repositories))
        return (
            f"{what}: {said}; {copied} copied in {self.seconds:.1f} s; {compared} tags and digests compared: {verdict}"
        )

    def _broken(self) -> str:
        broken = sum(bool(one.planned.fault_count) for one in self.repositories)
        return f"{broken} repositories have broken parts" if broken else "nothing is broken"

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "kind": self.kind,
            "source": self.source,
            "dry_run": self.dry_run,
            "equal": self.is_equal,
            "counts": {outcome: sum(one.outcome == outcome for one in self.repositories) for outcome in ORDER},
            "seconds": round(self.seconds, 3),
            "failed": self.failed,
            "not_selected": list(self.not_selected),
            "taken_along": list(self.taken),
            "not_taken_along": list(self.not_taken),
            "notes": list(self.notes),
            "chunks": self.chunks,
            "repositories": [one.to_json() for one in self.important_first()],
            "flow_run_id": self.flow_run_id or None,
        }


class MigrationIncomplete(RemoteError):
    """Repositories could not be migrated, or differ from the source; the others are here. `result` has all."""

    def __init__(self, result: MigrationResult) -> None:
        super().__init__(
            "\n".join([f"{result.summary()}; these are not as at the source:", *named(result.failed)]),
            detail={"failed": result.failed},
        )
        self.result = result
