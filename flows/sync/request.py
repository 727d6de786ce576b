"""The request of a sync: the parameters of the flow, and the form that Prefect's UI makes of them."""

from pydantic import Field, field_validator, model_validator

from catalog.blobs.origins import Policy
from catalog.parsed_text import explained
from flows.forms.fields import COMPANIONS, CompanionText
from flows.forms.filters import Filters
from flows.forms.modes import Mode, OnError
from oci.reference import Reference, parse_name
from oci.remote.address import Remote, parse_remote


class SyncRequest(Filters):
    """Copy tags of one upstream repository into one repository here. It holds no credentials: those come from settings."""

    remote: str = Field(
        title="Remote",
        description="Upstream repository, `registry.example/team/app`; with `:tag` or `@digest`, that one.",
        examples=["registry.example/team/app"],
        # Prefect's API refuses what does not match, before it would store a login typed in by mistake.
        json_schema_extra={"pattern": r"^([a-z]+://)?[^/@]+(/.*|@sha(256|512):[0-9a-f]+)?$"},
    )
    also: tuple[str, ...] = Field(
        default=(),
        max_length=20,
        title="Also",
        description="Further remotes, in order: a tag is that of the first remote that has it.",
        examples=[["second.example/team/app"]],
    )
    repository: str = Field(
        default="", title="Repository", description="Name of the repository here; empty: the upstream's."
    )
    mode: Mode = Field(
        default="additive",
        title="Mode",
        description="`additive` leaves what upstream does not have; `mirror` makes the version exactly what was selected.",
    )
    companions: tuple[CompanionText, ...] = Field(default=("*",), title="Companions", description=COMPANIONS)
    recheck: bool = Field(
        default=False,
        title="Recheck",
        description="Look for new signatures, SBOMs and attestations of images that have not changed, too: a request for each.",
    )
    policy: Policy | None = Field(
        default=None,
        title="Download policy",
        description="When layers are copied: `immediate` now; `on_demand` with the first pull, and then stored; `streamed` with "
        "each pull, and never stored. Empty: what is recorded for the remote, else `immediate`.",
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
        return _checked_remote(text)

    @field_validator("also")
    @classmethod
    def _check_also(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_checked_remote, texts))

    @model_validator(mode="after")
    def _check_apart(self) -> "SyncRequest":
        names = [str(one.upstream.repository_only().reference) for one in self.each_alone()]
        if len(set(names)) < len(names):
            raise ValueError("remotes must be different repositories")
        return self

    @field_validator("repository")
    @classmethod
    def _check_repository(cls, text: str) -> str:
        if text:
            explained(parse_name, text)
        return text

    def each_alone(self) -> "tuple[SyncRequest, ...]":
        """Return the same request for each of its remotes alone."""
        if not self.also:
            return (self,)
        return tuple(self.model_copy(update={"remote": remote, "also": ()}) for remote in (self.remote, *self.also))

    @property
    def upstream(self) -> Remote:
        """The remote, the first where there are several, parsed."""
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
    def pinned(self) -> str | None:
        """The one tag, or else digest, that the remote names; None: its tags are listed."""
        reference = self.reference
        return reference.tag or reference.digest


def _checked_remote(text: str) -> str:
    host, slash, _name = text.rpartition("://")[2].partition("/")
    if slash and "@" in host:
        raise ValueError(
            "leave credentials out of the remote; they are read from auth.json, config.json or ENTREPOT_LOGINS"
        )
    explained(parse_remote, text)
    return text
