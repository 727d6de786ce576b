"""What a scrub is asked to do, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from catalog.maintenance.impact import Hit
from catalog.maintenance.orphan_files import UnknownFiles
from catalog.maintenance.scrub import Fault
from catalog.units import Age, Duration, Size
from flows.runs.progress import format_bytes
from oci.digest import Digest
from oci.errors import StorageCorrupt

_NAMED = 20


class ScrubRequest(BaseModel):
    """Read every blob, and deal with what is damaged, missing or unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Size = Field(
        default=50_000_000,
        ge=0,
        title="Rate",
        description="Bytes read in a second at most, such as 50MB; 0: no limit.",
    )
    older_than: Age = Field(
        default="0s",
        title="Older than",
        description="Read only what was last read, or taken in, before this: an age (`30d`) or a date (`2026-01-31`).",
    )
    remove_unknown: bool = Field(
        default=False,
        title="Remove unknown files",
        description="Remove files of the store that nobody knows, and from quarantine what was brought anew.",
    )
    grace: Duration = Field(
        default="24h",
        title="Grace period",
        description="Unknown files that are younger stay.",
    )

    @property
    def rate_bytes(self) -> int | None:
        """Bytes a second; None for no limit."""
        return self.rate or None


@dataclass(frozen=True, slots=True)
class Mended:
    """A damaged blob that was fetched again, and from where."""

    fault: Fault
    remote: str


@dataclass(slots=True)
class ScrubResult:
    """What was read, what was damaged, what is lost and which images that hits, and files nobody knows. Sizes in bytes."""

    blobs: int = 0
    bytes: int = 0
    mended: list[Mended] = field(default_factory=list)
    damaged: list[Fault] = field(default_factory=list)
    lost: Sequence[Digest] = ()
    hits: Sequence[Hit] = ()
    unknown: UnknownFiles = field(default_factory=UnknownFiles)
    loose: int = 0
    loose_bytes: int = 0
    flow_run_id: str = ""

    def summary(self) -> str:
        """One line for a log, a flow run's state and a terminal."""
        parts = [f"read {self.blobs} blobs, {format_bytes(self.bytes)}"]
        if self.mended or self.damaged:
            parts.append(
                f"{len(self.mended) + len(self.damaged)} were damaged, {len(self.mended)} of them fetched again"
            )
        parts.append(f"{len(self.lost)} are lost" if self.lost else "nothing is lost")
        if self.unknown.files or self.unknown.removed:
            parts.append(
                f"{self.unknown.files} files nobody knows, {format_bytes(self.unknown.bytes)}, "
                f"{self.unknown.removed} removed"
            )
        return "; ".join(parts)

    def rows(self) -> list[Mapping[str, object]]:
        """The table of what was found."""
        rows: list[Mapping[str, object]] = [
            {"digest": one.fault.digest, "what": one.fault.reason, "outcome": f"fetched again from {one.remote}"}
            for one in self.mended
        ]
        hit = {found.digest for found in self.hits}
        rows += [
            {"digest": one.digest, "what": one.reason, "outcome": "set aside; no version needs it"}
            for one in self.damaged
            if one.digest not in hit
        ]
        reasons = {one.digest: one.reason for one in self.damaged}
        rows += [
            {
                "digest": one.digest, "what": reasons.get(one.digest, "not in the store"), "outcome": "lost",
                "repository": one.repository, "versions": one.versions, "tags": ", ".join(one.tags),
                "served at": ", ".join(one.paths),
            }
            for one in self.hits
        ]  # fmt: skip
        return rows + [{"digest": "", "what": f"unknown file {name}", "outcome": ""} for name in self.unknown.names]

    def to_json(self) -> dict[str, object]:
        """The same for programs."""
        unknown = self.unknown
        return {
            "read": {"blobs": self.blobs, "bytes": self.bytes},
            "damaged": {
                **{str(one.digest): one.reason for one in self.damaged},
                **{str(one.fault.digest): one.fault.reason for one in self.mended},
            },
            "fetched_again": {str(one.fault.digest): one.remote for one in self.mended},
            "lost": [str(digest) for digest in self.lost],
            "hits": [one.to_json() for one in self.hits],
            "unknown": {"files": unknown.files, "bytes": unknown.bytes, "names": unknown.names},
            "removed": {"files": unknown.removed, "bytes": unknown.removed_bytes},
            "quarantine": {"files": unknown.quarantined, "bytes": unknown.quarantined_bytes},
            "held_by_none": {"blobs": self.loose, "bytes": self.loose_bytes},
            "flow_run_id": self.flow_run_id or None,
        }


class ContentLost(StorageCorrupt):
    """A scrub has found content that versions hold, and that can be had from nowhere."""

    def __init__(self, result: ScrubResult) -> None:
        hits = [
            f"{one.digest} of {one.repository} version {one.versions}"
            + (f", tags {', '.join(one.tags[:_NAMED])}" if one.tags else "")
            + (f", served at {', '.join(one.paths[:_NAMED])}" if one.paths else "")
            for one in result.hits[:_NAMED]
        ]
        more = f"\n… and {len(result.hits) - _NAMED} more" if len(result.hits) > _NAMED else ""
        super().__init__(
            f"{result.summary()}. Push or sync these again:\n" + "\n".join(hits) + more, detail=result.to_json()
        )
