"""What became of each repository, and of all: as JSON, as a table, as one line."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from catalog.units import format_size
from flows.runs.failures import named
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from oci.errors import RemoteError

OutcomeKind = Literal["failed", "synced", "to sync", "unchanged", "left out"]
ORDER: tuple[OutcomeKind, ...] = ("failed", "synced", "to sync", "unchanged", "left out")
MAX_ROWS = 1000


@dataclass(frozen=True, slots=True)
class RepositoryOutcome:
    """What became of one repository. `version` is the repository's afterwards; `tags` counts those that are selected.

    `failed` are tags that were skipped, with the reason for each. `digest` is one manifest that the version serves.
    `is_local`: it has failed for a fault of this installation, such as a full disk.
    """

    repository: str
    remote: str
    outcome: OutcomeKind
    version: int = 0
    tags: int = 0
    bytes: int = 0
    seconds: float = 0.0
    error: str = ""
    note: str = ""
    notes: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    is_local: bool = False

    @classmethod
    def of(cls, result: SyncResult) -> "RepositoryOutcome":
        """Return the outcome of a sync that has come to its end."""
        digest = next((str(item.digest) for item in result.items if item.digest and item.action != "failed"), "")
        return cls(
            repository=result.repository,
            remote=result.remote,
            outcome="to sync" if result.dry_run else "synced" if result.changed else "unchanged",
            version=result.version,
            tags=sum(
                count for action, count in result.counts.items() if action not in ("failed", "refused", "removed")
            ),
            bytes=result.moved_bytes,
            seconds=round(result.seconds, 3),
            note=result.summary(),
            notes=result.notes,
            failed=result.failed,
            digest=digest,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {**asdict(self), "notes": list(self.notes), "failed": dict(self.failed)}

    def to_cells(self) -> dict[str, Any]:
        """Return the row of the table by which a chunk tells its outcomes, without what is empty: there may be thousands."""
        return {name: value for name, value in self.to_json().items() if value}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "RepositoryOutcome":
        """Read what `to_json` or `to_cells` has written; raise ValueError."""
        return _READER.validate_python(dict(row))

    def row(self) -> dict[str, object]:
        """Return the row of the result table."""
        skipped = "; ".join(f"{tag} was skipped: {reason}" for tag, reason in self.failed.items())
        return {
            "repository": self.repository,
            "outcome": self.outcome,
            "version": self.version,
            "tags": self.tags,
            "bytes": self.bytes,
            "error": (self.error or skipped).partition("\n")[0][:1000],
        }


_READER = TypeAdapter(RepositoryOutcome)

SyncHere = Callable[[Sequence[SyncRequest]], Awaitable[Sequence[RepositoryOutcome]]]
"""Syncs repositories in this process."""


@dataclass(frozen=True, slots=True)
class FannedOut:
    """The outcomes of all by the repository here, and how many flow runs did them; 0: this process did all."""

    outcomes: Mapping[str, RepositoryOutcome]
    chunks: int


@dataclass(frozen=True, slots=True)
class SyncManyResult:
    """The end of many syncs; `chunks` counts the flow runs that they were split into, 0 where this run did all."""

    outcomes: tuple[RepositoryOutcome, ...]
    chunks: int
    dry_run: bool
    seconds: float
    flow_run_id: str
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> dict[str, str]:
        """Return the repositories that could not be synced, with the reason for each."""
        return {one.repository: one.error for one in self.outcomes if one.outcome == "failed"}

    def important_first(self) -> list[RepositoryOutcome]:
        """Return the outcomes by what a reader looks for first, then by name."""
        return sorted(self.outcomes, key=lambda one: (ORDER.index(one.outcome), one.repository))

    def rows(self, *, limit: int = MAX_ROWS) -> list[dict[str, object]]:
        """Return the rows of the result table; beyond `limit`, one row says how many are left out."""
        rows = [one.row() for one in self.important_first()[:limit]]
        if len(self.outcomes) > limit:
            left = f"{len(self.outcomes) - limit} more repositories"
            rows.append({"repository": "…", "outcome": "", "version": 0, "tags": 0, "bytes": 0, "error": left})
        return rows

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        counts = Counter(one.outcome for one in self.outcomes)
        said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ORDER if counts[outcome]) or "nothing selected"
        moved = format_size(sum(one.bytes for one in self.outcomes))
        where = f", in {self.chunks} flow runs" if self.chunks else ""
        start = "dry run of " if self.dry_run else ""
        copied = "to copy" if self.dry_run else "copied"
        return f"{start}{len(self.outcomes)} repositories: {said}; {moved} {copied} in {self.seconds:.1f} s{where}"

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "dry_run": self.dry_run,
            "counts": {outcome: sum(one.outcome == outcome for one in self.outcomes) for outcome in ORDER},
            "chunks": self.chunks,
            "seconds": round(self.seconds, 3),
            "failed": self.failed,
            "notes": list(self.notes),
            "repositories": [one.to_json() for one in self.important_first()],
            "flow_run_id": self.flow_run_id or None,
        }


class SyncsFailed(RemoteError):
    """Repositories could not be synced; the others were. `result` has all."""

    def __init__(self, result: SyncManyResult, *, registry: str) -> None:
        super().__init__(
            "\n".join([f"{result.summary()}; these failed:", *named(result.failed)]),
            registry=registry,
            detail={"failed": result.failed},
        )
        self.result = result
