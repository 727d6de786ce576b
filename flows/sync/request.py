"""The form of a sync: the parameters of the flow, the options of the command."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog.parsed_text import explained
from flows.forms.faults import credentials_left_out, misfit
from flows.forms.filters import Filters
from flows.forms.modes import Mode, OnError
from flows.forms.order import FieldOrder
from flows.forms.parameters import Argument, Option
from flows.forms.shapes import NAME_OR_NOTHING, REMOTE, Shape
from flows.forms.shared_fields import Companions, DownloadPolicy, DryRun, Exclude, Include, Logins, TrustPolicyName
from oci.reference import Reference, parse_name
from oci.remote.address import Remote, parse_remote


class SyncOptions(Filters):
    """Say how repositories are synced: what of a sync holds for one repository as for many."""

    field_order: ClassVar[FieldOrder] = FieldOrder(
        ("include", "exclude", "newest", "platforms", "mode", "policy", "on_error"), ("signed_by", "batch_size")
    )

    mode: Mode = Field(
        default="additive",
        title="Mode",
        description="`mirror` removes what the upstream does not have; `additive` keeps it.",
    )
    companions: Companions = ("*",)
    recheck: bool = Field(
        default=False,
        title="Recheck",
        description="Look for new signatures, SBOMs and attestations of unchanged images too: one request each.",
    )
    signed_by: TrustPolicyName = Field(
        default="",
        title="Signed by",
        description="Leave out tags whose image this trust policy refuses; a tag that is here stays as it is.",
    )
    policy: DownloadPolicy = None
    on_error: OnError = Field(
        default="fail",
        title="On error",
        description="When a tag cannot be copied: `fail` changes nothing; `skip` commits the other tags.",
    )
    batch_size: int = Field(
        default=200,
        ge=1,
        le=10_000,
        title="Batch size",
        description="Number of tags that one Prefect task copies; one asks upstream for ten times as many.",
    )


class SyncRequest(SyncOptions):
    """Copy tags of one upstream repository into one repository here. Credentials come from the settings."""

    field_order: ClassVar[FieldOrder] = FieldOrder(
        (
            "repository",
            "include",
            "exclude",
            "newest",
            "platforms",
            "mode",
            "signed_by",
            "policy",
            "on_error",
            "dry_run",
            "logins",
        ),
        ("also", "recheck", "batch_size"),
    )

    remote: Annotated[str, Shape(REMOTE, ("registry.example/team/app",)), Argument("REMOTE")] = Field(
        title="Remote",
        description="Upstream repository: `registry.example/team/app[:tag][@digest]`.",
    )
    also: Annotated[tuple[Annotated[str, Shape(REMOTE)], ...], Option(metavar="REMOTE")] = Field(
        default=(),
        max_length=20,
        title="Also",
        description="Add this remote, in order: the first remote that has a tag provides it. Repeatable.",
        examples=[["second.example/team/app"]],
    )
    repository: Annotated[str, Shape(NAME_OR_NOTHING, ("mirror/app",)), Argument("NAME", completes="repository")] = (
        Field(default="", title="Repository", description="Name of the repository here. Default: the upstream's name.")
    )
    logins: Logins = None
    dry_run: DryRun = False

    @field_validator("remote")
    @classmethod
    def _check_remote(cls, text: str) -> str:
        return check_remote(text)

    @field_validator("also")
    @classmethod
    def _check_also(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(check_remote, texts))

    @model_validator(mode="after")
    def _check_apart(self) -> "SyncRequest":
        names = [str(one.upstream.repository_only().reference) for one in self.each_alone()]
        if len(set(names)) < len(names):
            raise misfit("{remote} and {also}: expected different repositories")
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
        """Return the remote, the first where there are several, parsed."""
        return parse_remote(self.remote)

    @property
    def reference(self) -> Reference:
        """Return the remote without its scheme."""
        return self.upstream.reference

    @property
    def target(self) -> str:
        """Return the name of the repository here."""
        return self.repository or self.reference.repository

    @property
    def pinned(self) -> str | None:
        """Return the one tag, or else digest, that the remote names; None: its tags are listed."""
        reference = self.reference
        return reference.tag or reference.digest


class FirstSync(BaseModel):
    """Say what `entrepot up` syncs at its start. The form of a command; a sync's form is made of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    upstream: Annotated[str, Option(metavar="REMOTE")] = Field(
        default="", title="Upstream", description="Sync this upstream repository once, through its deployment."
    )
    include: Include = ()
    exclude: Exclude = ()


def check_remote(text: str) -> str:
    """Return the text of a remote; raise ValueError for one that cannot be read or holds a login."""
    host, slash, _name = text.rpartition("://")[2].partition("/")
    if slash and "@" in host:
        raise ValueError(credentials_left_out("remote"))
    explained(parse_remote, text)
    return text
