"""The form and the result of a scrub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.blobs.scrub_records import Fault
from catalog.maintenance.impact import Impact
from catalog.maintenance.orphan_files import UnknownFiles
from catalog.units import GRACE, format_size
from flows.forms.fields import AgeField, DurationField, SizeField
from flows.forms.older_parameters import older_names
from oci.digest import Digest
from oci.errors import StorageCorrupt

_NAMED = 20


class ScrubRequest(BaseModel):
    """Read every blob, and deal with what is damaged, missing or unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    _older = model_validator(mode="before")(older_names("scrub-blobs"))

    rate: SizeField = Field(
        default=50_000_000,
        ge=0,
        title="Rate",
        description="Read at most this many bytes per second, such as `50MB`. `0`: no limit.",
    )
    older_than: AgeField = Field(
        default="0s",
        title="Older than",
        description="Read only blobs last verified or stored before this: `12h`, `30d` or `2026-01-31`.",
    )
    remove_unknown: bool = Field(
        default=False,
        title="Remove unknown files",
        description="Remove files of the store that are no known blob, and quarantined blobs that were replaced.",
    )
    grace: DurationField = Field(
        default=GRACE,
        title="Grace period",
        description="Keep unknown files that are younger than this time.",
    )

    @property
    def rate_bytes(self) -> int | None:
        """Bytes a second; None for no limit."""
        return self.rate or None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An upstream that was asked for damaged content, and why it did not give it: empty when it did."""

    remote: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of damaged content: the upstreams that were asked, in order, and the repositories that need it.

    `is_left_upstream`: a pull fetches it too, for a repository has left it upstream once.
    """

    fault: Fault
    attempts: tuple[Attempt, ...] = ()
    repositories: tuple[str, ...] = ()
    is_left_upstream: bool = False

    @property
    def remote(self) -> str:
        """The upstream that gave it; empty for none."""
        return next((one.remote for one in self.attempts if not one.failure), "")

    @property
    def failures(self) -> dict[str, str]:
        """By upstream why it did not give it."""
        return {one.remote: one.failure for one in self.attempts if one.failure}

    def outcome(self, *, is_lost: bool) -> str:
        """Return in one line what became of it, and what every upstream did that was asked."""
        if is_lost:
            told = "lost" if self.attempts else "lost; no upstream is recorded for it"
        elif self.remote:
            told = f"fetched again from {self.remote}"
        elif not self.repositories:
            told = "set aside; no version needs it"
        elif self.is_left_upstream:
            told = "set aside; the next pull asks upstream again"
        else:
            told = "set aside; it was brought anew meanwhile"
        return "; ".join([told, *(f"{remote} {failure}" for remote, failure in self.failures.items())])


@dataclass(slots=True)
class ScrubResult:
    """What was read, what was damaged, what is lost and which images that hits, and unknown files. Sizes in bytes."""

    blobs: int = 0
    bytes: int = 0
    repairs: list[Repair] = field(default_factory=list)
    lost: Sequence[Digest] = ()
    impacts: Sequence[Impact] = ()
    unknown: UnknownFiles = field(default_factory=UnknownFiles)
    loose: int = 0
    loose_bytes: int = 0
    flow_run_id: str = ""

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        parts = [f"read {self.blobs} blobs, {format_size(self.bytes)}"]
        if self.repairs:
            fetched = sum(bool(one.remote) for one in self.repairs)
            parts.append(f"{len(self.repairs)} were damaged, {fetched} of them fetched again")
        parts.append(f"{len(self.lost)} are lost" if self.lost else "nothing is lost")
        if self.unknown.files or self.unknown.removed:
            parts.append(
                f"{self.unknown.files} unknown files, {format_size(self.unknown.bytes)}, {self.unknown.removed} removed"
            )
        return "; ".join(parts)

    def rows(self) -> list[Mapping[str, object]]:
        """Return the table of what was found."""
        impact = {found.digest for found in self.impacts}
        rows: list[Mapping[str, object]] = [
            {"digest": one.fault.digest, "what": one.fault.reason, "outcome": one.outcome(is_lost=False)}
            for one in self.repairs
            if one.fault.digest not in impact
        ]
        rows += [
            {
                "digest": one.digest, "what": self.repair_of(one.digest).fault.reason,
                "outcome": self.repair_of(one.digest).outcome(is_lost=True),
                "repository": one.repository, "versions": one.versions, "tags": ", ".join(one.tags),
                "served at": ", ".join(one.paths),
            }
            for one in self.impacts
        ]  # fmt: skip
        return rows + [{"digest": "", "what": f"unknown file {name}", "outcome": ""} for name in self.unknown.names]

    def repair_of(self, digest: Digest) -> Repair:
        """Return what was tried to have lost content again."""
        found = (one for one in self.repairs if one.fault.digest == digest)
        return next(found, Repair(Fault(digest, 0, "not in the store")))

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        unknown = self.unknown
        return {
            "read": {"blobs": self.blobs, "bytes": self.bytes},
            "damaged": {str(one.fault.digest): one.fault.reason for one in self.repairs},
            "fetched_again": {str(one.fault.digest): one.remote for one in self.repairs if one.remote},
            "not_given": {str(one.fault.digest): one.failures for one in self.repairs if one.failures},
            "lost": [str(digest) for digest in self.lost],
            "hits": [one.to_json() for one in self.impacts],
            "unknown": {"files": unknown.files, "bytes": unknown.bytes, "names": unknown.names},
            "removed": {"files": unknown.removed, "bytes": unknown.removed_bytes},
            "quarantine": {"files": unknown.quarantined, "bytes": unknown.quarantined_bytes},
            "held_by_none": {"blobs": self.loose, "bytes": self.loose_bytes},
            "flow_run_id": self.flow_run_id or None,
        }


class ContentLost(StorageCorrupt):
    """A scrub has found content that versions hold, and that can be had from nowhere."""

    def __init__(self, result: ScrubResult) -> None:
        impacts = [
            f"{one.digest} of {one.repository} version {one.versions}"
            + (f", tags {', '.join(one.tags[:_NAMED])}" if one.tags else "")
            + (f", served at {', '.join(one.paths[:_NAMED])}" if one.paths else "")
            + f": {result.repair_of(one.digest).outcome(is_lost=True)}"
            for one in result.impacts[:_NAMED]
        ]
        more = f"\n… and {len(result.impacts) - _NAMED} more" if len(result.impacts) > _NAMED else ""
        super().__init__(
            f"{result.summary()}. Push or sync these again:\n" + "\n".join(impacts) + more, detail=result.to_json()
        )
