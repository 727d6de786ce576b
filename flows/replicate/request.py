"""What a replication is asked to do: the parameters of the flow, and what comes of it."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog.blobs.origins import Policy
from catalog.parsed_text import explained
from catalog.path_patterns import PathPattern
from flows.forms.fields import PATH_PATTERNS, LabelText
from flows.forms.filters import Filters
from flows.forms.modes import OnError
from oci.digest import Digest
from oci.remote.address import Remote, parse_remote
from oci.remote.discovery.served import KINDS, Kind

Privacy = Literal["asked", "listed", "private"]
Action = Literal["added", "updated", "unchanged", "removed", "kept", "failed", "left out", "to sync"]


class ReplicateRequest(BaseModel):
    """Serve what another installation serves: the same paths, digests, privacy. It holds no credentials."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    upstream: str = Field(
        title="Upstream",
        description="The other installation, `registry.example[:port]`.",
        examples=["registry.example"],
        json_schema_extra={"pattern": r"^([a-z]+://)?[^/@]+/?$"},
    )
    kind: Literal["auto", "entrepot", "pulp", "catalog"] = Field(
        default="auto",
        title="Kind",
        description="Whose API to ask for paths: an Entrepôt's, a Pulp's, or a plain registry's `_catalog`.",
    )
    include: tuple[PathPattern, ...] = Field(
        default=(), title="Include", description=f"Paths to replicate; none: every path. {PATH_PATTERNS}"
    )
    exclude: tuple[PathPattern, ...] = Field(
        default=(), title="Exclude", description="Paths to leave out, as patterns; stronger than include."
    )
    labels: tuple[LabelText, ...] = Field(
        default=(),
        title="Labels",
        description="Labels that a path must have upstream, `KEY` or `KEY=VALUE`; all of them.",
    )
    pulp_filter: str = Field(
        default="",
        max_length=2000,
        title="Pulp filter",
        description='Of a Pulp, an expression that it applies itself (its parameter `q`), such as `pulp_label_select="prod"`.',
    )
    pulp_api: str = Field(
        default="",
        max_length=200,
        title="Pulp API",
        description="Where a Pulp's API is, such as `/pulp/default/api/v3/` for one domain; empty: at its usual place, or of "
        "every domain.",
        json_schema_extra={"pattern": r"^(/[A-Za-z0-9._~-]+)*/?$"},
    )
    privacy: Privacy = Field(
        default="asked",
        title="Privacy",
        description="What is private here of that which a login reads: `asked`, what upstream does not let anybody pull; "
        "`listed`, what its list says is private; `private`, all.",
    )
    accept_change: bool = Field(
        default=False,
        title="Accept change",
        description="Go on although upstream responds as another kind, or to another login, than at the last replication; this "
        "run removes no path, the next one does.",
    )
    policy: Policy | None = Field(default=None, title="Download policy", description="As for a sync.")
    keep_gone: bool = Field(
        default=False,
        title="Keep what is gone",
        description="Go on serving paths that upstream does not serve any longer.",
    )
    tags: Filters = Field(
        default_factory=Filters, title="Tags", description="Which tags of each path are selected; by default all."
    )
    on_error: OnError = Field(
        default="fail",
        title="On error",
        description="When a path or a tag cannot be copied: `fail` serves everything as it was, `skip` the others anew.",
    )
    dry_run: bool = Field(default=False, title="Dry run", description="Say what would change, and change nothing.")

    @field_validator("upstream")
    @classmethod
    def _check_upstream(cls, text: str) -> str:
        if "@" in text:
            raise ValueError(
                "leave credentials out of the upstream; they are read from auth.json, config.json or ENTREPOT_LOGINS"
            )
        text = text.rstrip("/")
        if "/" in text.rpartition("://")[2]:
            raise ValueError("an upstream is a host, without a path")
        explained(parse_remote, f"{text}/name")
        return text

    @model_validator(mode="after")
    def _check_pulp_filter(self) -> "ReplicateRequest":
        if (self.pulp_filter or self.pulp_api) and self.kind != "pulp":
            what = "filter" if self.pulp_filter else "API"
            raise ValueError(f"a Pulp {what} is for a Pulp: choose the kind `pulp`")
        if self.pulp_api and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", self.pulp_api):
            raise ValueError("a Pulp API is a path at the upstream, such as /pulp/default/api/v3/")
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
        """True where the same content may be selected otherwise tomorrow."""
        return bool(self.tags.newer_than or self.tags.older_than)

    @property
    def host(self) -> str:
        """host[:port] of the upstream."""
        return self.remote("name").host

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of APIs to ask, in order."""
        return KINDS if self.kind == "auto" else (self.kind,)


@dataclass(frozen=True, slots=True)
class Replica:
    """One path: what became of it, the version it serves now, and the sync's summary."""

    path: str
    action: Action
    version: int
    note: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the same for programs and tables."""
        return {"path": self.path, "action": self.action, "version": self.version, "note": self.note}


@dataclass(frozen=True, slots=True)
class ReplicateResult:
    """The result of a replication."""

    upstream: str
    kind: Kind
    replicas: tuple[Replica, ...]
    not_selected: tuple[str, ...]
    dry_run: bool
    flow_run_id: str
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> dict[str, str]:
        """The paths that could not be synced, with the reason for each."""
        return {one.path: one.note for one in self.replicas if one.action == "failed"}

    def summary(self) -> str:
        """Return one line for a log, a flow run's state and a terminal."""
        counts = Counter(one.action for one in self.replicas)
        outcome = (
            ", ".join(f"{count} {action}" for action, count in sorted(counts.items())) or "nothing is served there"
        )
        return f"{'dry run of ' if self.dry_run else ''}{self.upstream} ({self.kind}): {outcome}"

    def to_json(self) -> dict[str, object]:
        """Return the same for programs."""
        return {
            "upstream": self.upstream,
            "kind": self.kind,
            "dry_run": self.dry_run,
            "distributions": [one.to_json() for one in self.replicas],
            "not_selected": list(self.not_selected),
            "failed": self.failed,
            "notes": list(self.notes),
            "flow_run_id": self.flow_run_id or None,
        }
