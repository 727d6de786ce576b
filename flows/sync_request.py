"""What a sync is asked to do: the parameters of the flow, and the form that Prefect's UI makes of them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from catalog.filters import Line, TagFilter
from catalog.sources import Policy
from flows.request_fields import NEWEST_OF, PATTERNS, Pattern, PlatformText, explained
from oci.reference import Reference, parse_name
from oci.remote.address import Remote, parse_remote

Mode = Literal["additive", "mirror"]
OnError = Literal["fail", "skip"]


class SyncRequest(BaseModel):
    """Copy tags of one upstream repository into one repository here. It holds no credentials: those come from settings."""

    # A value that does not fit may hold a password typed in by mistake, so errors do not repeat it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    remote: str = Field(
        title="Remote",
        description="Upstream repository, `registry.example/team/app`; with `:tag` or `@digest`, that one.",
        examples=["registry.example/team/app"],
        # Prefect's API refuses what does not match, before it would store a login typed in by mistake.
        json_schema_extra={"pattern": r"^([a-z]+://)?[^/@]+(/.*|@sha(256|512):[0-9a-f]+)?$"},
    )
    repository: str = Field(
        default="", title="Repository", description="Name of the repository here; empty: the upstream's."
    )
    mode: Mode = Field(
        default="additive",
        title="Mode",
        description="`additive` leaves what upstream does not have; `mirror` makes the version exactly what was selected.",
    )
    include: tuple[Pattern, ...] = Field(
        default=(), title="Include", description=f"Tags to take; none: every tag. {PATTERNS}"
    )
    exclude: tuple[Pattern, ...] = Field(
        default=(), title="Exclude", description="Tags to leave out, as patterns; stronger than include."
    )
    newest: int | None = Field(
        default=None,
        ge=1,
        title="Newest",
        description="Of the tags selected so far, take only so many of the highest semantic versions.",
    )
    newest_of: Line = Field(default="repository", title="Newest of", description=NEWEST_OF)
    platforms: tuple[PlatformText, ...] = Field(
        default=(),
        title="Platforms",
        description="Of multi-platform images take these only, `os/architecture[/variant]`; none: all.",
    )
    companions: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=("*",),
        title="Companions",
        description="What comes along of that which belongs to images without being in them: `signature`, `attestation`, `sbom`, "
        "or globs of artifact types; none: nothing does.",
    )
    policy: Policy | None = Field(
        default=None,
        title="Download policy",
        description="When layers are copied: `immediate` now; `on_demand` with the first pull, and then kept; `streamed` with "
        "each pull, and never kept. Empty: what is recorded for the remote, else `immediate`.",
    )
    dry_run: bool = Field(default=False, title="Dry run", description="Stop after the plan; nothing is changed.")
    on_error: OnError = Field(
        default="fail",
        title="On error",
        description="When a tag cannot be copied: `fail` changes nothing, `skip` makes a version of the others.",
    )
    batch_size: int = Field(
        default=200, ge=1, le=10_000, title="Batch size", description="Tags that one task resolves or copies."
    )

    @field_validator("remote")
    @classmethod
    def _check_remote(cls, text: str) -> str:
        host, slash, _name = text.rpartition("://")[2].partition("/")
        if slash and "@" in host:
            raise ValueError(
                "leave credentials out of the remote; they are read from auth.json, config.json or ENTREPOT_LOGINS"
            )
        explained(parse_remote, text)
        return text

    @field_validator("repository")
    @classmethod
    def _check_repository(cls, text: str) -> str:
        if text:
            explained(parse_name, text)
        return text

    @property
    def upstream(self) -> Remote:
        """The remote, parsed."""
        return parse_remote(self.remote)

    @property
    def reference(self) -> Reference:
        """The remote without its scheme."""
        return self.upstream.reference

    @property
    def target(self) -> str:
        """The name of the repository here."""
        return self.repository or self.reference.repository

    @property
    def tag_filter(self) -> TagFilter:
        """Which tags are taken of those upstream has."""
        return TagFilter(self.include, self.exclude, self.newest, self.newest_of)

    @property
    def pinned(self) -> str | None:
        """The one tag, or else digest, that the remote names; None: its tags are listed."""
        reference = self.reference
        return reference.tag or reference.digest
