"""The form and the result of a replication."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog.blobs.origins import Policy
from catalog.parsed_text import explained
from flows.forms.faults import credentials_left_out, misfit
from flows.forms.fields import LabelText, PathPatternField
from flows.forms.filters import Filters
from flows.forms.modes import OnError
from flows.forms.order import FieldOrder
from flows.forms.parameters import Argument, Group, Option
from flows.forms.shapes import REGISTRY, Shape
from flows.forms.shared_fields import DownloadPolicy, DryRun
from oci.digest import Digest
from oci.remote.address import Remote, parse_remote

if TYPE_CHECKING:
    from oci.remote.discovery.served import Kind

Privacy = Literal["asked", "listed", "private"]

Action = Literal["added", "updated", "unchanged", "removed", "kept", "failed", "left out", "to sync"]


class ReplicateRequest(BaseModel):
    """Serve what another registry serves: the same paths, digests and privacy. Credentials come from the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    field_order: ClassVar[FieldOrder] = FieldOrder(
        ("include", "exclude", "policy", "privacy", "keep_gone", "on_error", "dry_run", "tags", "labels"),
        ("accept_change", "kind", "pulp_filter", "pulp_api"),
    )

    upstream: Annotated[str, Shape(REGISTRY, ("registry.example",)), Argument("UPSTREAM")] = Field(
        title="Upstream", description="The other registry: `registry.example[:port]`."
    )
    kind: Literal["auto", "entrepot", "pulp", "catalog"] = Field(
        default="auto",
        title="Kind",
        description="API that lists the paths: Entrepôt's, Pulp's, or a registry's `_catalog`; `auto`: the first that answers.",
    )
    include: tuple[PathPatternField, ...] = Field(
        default=(),
        title="Include",
        description="Replicate paths that match this path pattern. Default: every path. Repeatable.",
    )
    exclude: tuple[PathPatternField, ...] = Field(
        default=(), title="Exclude", description="Exclude paths that match; takes precedence. Repeatable."
    )
    labels: Annotated[tuple[LabelText, ...], Option("--label")] = Field(
        default=(),
        title="Labels",
        description="Replicate paths that have this label upstream. Repeatable: all must hold.",
    )
    pulp_filter: Annotated[str, Option(metavar="EXPRESSION")] = Field(
        default="",
        max_length=2000,
        title="Pulp filter",
        description='Filter paths in Pulp (its parameter `q`): `pulp_label_select="prod"`. Needs kind `pulp`.',
    )
    pulp_api: Annotated[str, Option(metavar="PATH")] = Field(
        default="",
        max_length=200,
        title="Pulp API",
        description="Path of Pulp's API, such as `/pulp/default/api/v3/`. Default: its usual place. Needs kind `pulp`.",
        json_schema_extra={"pattern": r"^(/[A-Za-z0-9._~-]+)*/?$"},
    )
    privacy: Privacy = Field(
        default="asked",
        title="Privacy",
        description="Keep private what anonymous users may not pull (`asked`), what is listed as private (`listed`), or all "
        "(`private`).",
    )
    accept_change: bool = Field(
        default=False,
        title="Accept change",
        description="Continue although the upstream's kind or the login has changed; this run removes no path.",
    )
    policy: DownloadPolicy = None
    keep_gone: bool = Field(
        default=False,
        title="Keep what is gone",
        description="Keep serving paths that the upstream no longer serves.",
    )
    tags: Annotated[
        Filters, Group({"include": "--tags-include", "exclude": "--tags-exclude", "labels": "--tags-label"})
    ] = Field(
        default_factory=Filters, title="Tags", description="Filters that select tags of each path. Default: all tags."
    )
    on_error: OnError = Field(
        default="fail",
        title="On error",
        description="When a path or tag cannot be copied: `fail` changes nothing; `skip` skips it.",
    )
    dry_run: DryRun = False

    @field_validator("upstream")
    @classmethod
    def _check_upstream(cls, text: str) -> str:
        if "@" in text:
            raise ValueError(credentials_left_out("upstream"))
        text = text.rstrip("/")
        if "/" in text.rpartition("://")[2]:
            raise ValueError("an upstream is a host, without a path")
        explained(parse_remote, f"{text}/name")
        return text

    @model_validator(mode="after")
    def _check_pulp_filter(self) -> "ReplicateRequest":
        if self.kind != "pulp" and (self.pulp_filter or self.pulp_api):
            raise misfit("{pulp_filter} needs {kind} `pulp`" if self.pulp_filter else "{pulp_api} needs {kind} `pulp`")
        if self.pulp_api and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", self.pulp_api):
            raise misfit("{pulp_api}: expected a path of the upstream, such as /pulp/default/api/v3/")
        return self

    def remote(self, path: str) -> Remote:
        """Return a path of the upstream."""
        return parse_remote(f"{self.upstream}/{path}")

    def manner(self, recorded: Policy) -> str:
        """Return how a path is replicated, as one text: a path whose content is the same is another replica by another manner.

        `recorded` is the policy of the remote's record, which holds where the request names none.
        """
        policy = self.policy or recorded
        if self.tags == Filters():
            return policy
        return f"{policy} {Digest.of(self.tags.model_dump_json().encode()).encoded[:32]}"

    @property
    def depends_on_time(self) -> bool:
        """Return whether the same content may be selected otherwise tomorrow."""
        return bool(self.tags.newer_than or self.tags.older_than)

    @property
    def host(self) -> str:
        """host[:port] of the upstream."""
        return self.remote("name").host

    @property
    def kinds(self) -> "tuple[Kind, ...]":
        """Return whose APIs to ask, in order."""
        from oci.remote.discovery.served import KINDS

        return KINDS if self.kind == "auto" else (self.kind,)


@dataclass(frozen=True, slots=True)
class Replica:
    """One path: what became of it, the version it serves now, and the sync's own words."""

    path: str
    action: Action
    version: int
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the same for programs and tables."""
        return {"path": self.path, "action": self.action, "version": self.version, "note": self.note}


@dataclass(frozen=True, slots=True)
class ReplicateResult:
    """The end of a replication; `chunks` counts the flow runs that the syncs were split into, 0 where this run did all."""

    upstream: str
    kind: "Kind"
    replicas: tuple[Replica, ...]
    not_selected: tuple[str, ...]
    dry_run: bool
    flow_run_id: str
    notes: tuple[str, ...] = ()
    chunks: int = 0

    @property
    def failed(self) -> dict[str, str]:
        """Return the paths that could not be synced, with the reason for each."""
        return {one.path: one.note for one in self.replicas if one.action == "failed"}

    def important_first(self) -> list[Replica]:
        """Return the paths by what a reader looks for first: what failed, then what changed."""
        return sorted(self.replicas, key=lambda one: (one.action != "failed", one.action == "unchanged"))

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        counts = Counter(one.action for one in self.replicas)
        said = ", ".join(f"{count} {action}" for action, count in sorted(counts.items())) or "nothing is served there"
        where = f", in {self.chunks} flow runs" if self.chunks else ""
        return f"{'dry run of ' if self.dry_run else ''}{self.upstream} ({self.kind}): {said}{where}"

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "upstream": self.upstream,
            "kind": self.kind,
            "dry_run": self.dry_run,
            "chunks": self.chunks,
            "distributions": [one.to_json() for one in self.replicas],
            "not_selected": list(self.not_selected),
            "failed": self.failed,
            "notes": list(self.notes),
            "flow_run_id": self.flow_run_id or None,
        }
