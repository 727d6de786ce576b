"""The form and the result of a watch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from catalog.parsed_text import explained
from catalog.watch.judgement import IMMUTABLE
from flows.forms.fields import TagPatternField
from flows.forms.order import FieldOrder
from flows.forms.parameters import Argument, Option
from flows.forms.shapes import REMOTE, Shape
from flows.forms.shared_fields import Exclude, Include, Logins
from oci.reference import parse_name
from oci.remote.address import parse_remote

if TYPE_CHECKING:
    from catalog.holds.rules import HoldDecision
    from catalog.watch.sightings import UpstreamChange


OnMove = Literal["tell", "hold"]


class WatchRequest(BaseModel):
    """Watch tags of an upstream repository, or of those that a mirror or a cache here has its content from."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    field_order: ClassVar[FieldOrder] = FieldOrder(
        ("source", "include", "exclude", "signatures", "expect_immutable", "on_move"), ("most_tags", "logins")
    )

    source: Annotated[str, Shape(REMOTE, ("registry.example/team/app",)), Argument("SOURCE")] = Field(
        title="Source",
        description="Upstream repository, `registry.example/team/app`, or the path of a mirror or below a cache here.",
    )
    include: Include = ()
    exclude: Exclude = ()
    signatures: bool = Field(
        default=False,
        title="Signatures",
        description="Watch the signatures of each tag and the signers that they claim; sends more requests.",
    )
    expect_immutable: Annotated[tuple[TagPatternField, ...], Option(metavar="PATTERN")] = Field(
        default=IMMUTABLE,
        title="Expect immutable",
        description="Warn when such a tag moves. Default: full versions, `1.2.3` or `v1.2.3-alpine`. Repeatable.",
    )
    on_move: Annotated[OnMove, Option(metavar="ACTION")] = Field(
        default="tell",
        title="On move",
        description="When a tag moves that must not: `tell` reports it; `hold` also blocks the new digest at the paths here.",
    )
    most_tags: int = Field(
        default=5000,
        ge=1,
        le=100_000,
        title="Most tags",
        description="Watch at most this many tags of a repository; those watched before come first.",
    )
    logins: Logins = None

    @field_validator("source")
    @classmethod
    def _check_source(cls, text: str) -> str:
        if not is_remote(text):
            explained(parse_name, text)
            return text
        if "@" in text.rpartition("://")[2].partition("/")[0]:
            raise ValueError(
                "leave credentials out of the remote; they are read from auth.json, config.json or ENTREPOT_LOGINS"
            )
        reference = explained(parse_remote, text).reference
        if reference.tag or reference.digest:
            raise ValueError("expected a repository without a tag or digest; --include selects tags")
        return text


def is_remote(text: str) -> bool:
    """Return whether a source names a registry, `HOST.NAME/…` or `HOST:PORT/…`, and no path here."""
    host, slash, _ = text.partition("/")
    return "://" in text or (bool(slash) and (host == "localhost" or bool(set(".:@") & set(host))))


@dataclass(frozen=True, slots=True)
class WatchedUpstream:
    """What a watch found of one upstream repository. `error`: nothing could be seen; `unknown`: tags that were not answered.

    `blocked` are the blocks that it has made.
    """

    remote: str
    seen: int = 0
    requests: int = 0
    changes: "tuple[UpstreamChange, ...]" = ()
    unknown: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    is_first: bool = False
    blocked: "tuple[HoldDecision, ...]" = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class WatchResult:
    """The end of a watch."""

    upstreams: tuple[WatchedUpstream, ...]
    flow_run_id: str

    def kinds(self) -> frozenset[str]:
        """Return the kinds of changes that were seen."""
        return frozenset(one.kind for upstream in self.upstreams for one in upstream.changes)

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        return "; ".join(map(_summary, self.upstreams))

    def rows(self) -> list[Mapping[str, object]]:
        """Return the table of changes."""
        return [
            {
                "remote": upstream.remote, "tag": one.tag, "change": one.kind, "severity": one.severity,
                "digest": one.digest or "", "previous": one.previous or "",
            }
            for upstream in self.upstreams
            for one in upstream.changes
        ]  # fmt: skip

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        from catalog.watch.records import change_json

        return {
            "upstreams": [
                {
                    "remote": one.remote, "first": one.is_first, "seen": one.seen, "requests": one.requests,
                    "changes": list(map(change_json, one.changes)), "unknown": dict(one.unknown),
                    "remarks": list(one.remarks), "error": one.error,
                    "blocked": [{"digest": block.digest, "path": block.pattern} for block in one.blocked],
                }
                for one in self.upstreams
            ],
            "flow_run_id": self.flow_run_id or None,
        }  # fmt: skip


def _summary(one: WatchedUpstream) -> str:
    if one.error:
        return f"{one.remote}: {one.error}"
    warned = sum(change.severity == "warning" for change in one.changes)
    said = f"{len(one.changes)} change(s)" + (f", {warned} of them warnings" if warned else "")
    if one.is_first:
        said = "watched for the first time"
    said = f"{one.remote}: {one.seen} tag(s) seen, {said}, {one.requests} request(s)"
    if one.blocked:
        said += f", {len({block.digest for block in one.blocked})} digest(s) blocked"
    return f"{said}; {len(one.unknown)} tag(s) unknown" if one.unknown else said
