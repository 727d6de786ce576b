"""The forms of many syncs: what the command and the flow are given, and what one chunk of it is given."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_serializer, field_validator, model_validator

from catalog.parsed_text import explained
from catalog.path_patterns import parse_path_pattern
from flows.forms.faults import misfit
from flows.forms.fields import PathPatternField
from flows.forms.order import FieldOrder
from flows.forms.parameters import Argument, Group, Metavar, Option, SetBy
from flows.forms.shapes import NAME_OR_NOTHING, REMOTE, REMOTE_OR_PATTERN, Shape
from flows.forms.shared_fields import DryRun
from flows.sync.request import SyncOptions, SyncRequest, check_remote
from oci.reference import parse_name
from oci.remote.address import Remote, parse_remote

MAX_SYNCS = 5000
"""Entries of one request: Prefect takes parameters of half a megabyte."""

DEFAULT_AT_ONCE = 8
_CONFIG = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def split_pattern(text: str) -> tuple[str, str] | None:
    """Return the registry, with its scheme, and the pattern of paths of `registry.example/team/**`; None for a plain remote."""
    scheme, separator, rest = text.rpartition("://")
    host, _slash, path = rest.partition("/")
    if not (path.startswith("re:") or "*" in path or "?" in path):
        return None
    return f"{scheme}{separator}{host}", path


def check_remote_or_pattern(text: str) -> str:
    """Return the text of a remote or of a pattern of remotes; raise ValueError."""
    found = split_pattern(text)
    if found is None:
        return check_remote(text)
    registry, pattern = found
    host = registry.rpartition("://")[2]
    if not ("." in host or ":" in host or host == "localhost"):
        raise ValueError(f"a pattern names its registry: registry.example/{pattern}")
    check_remote(f"{registry}/name")
    explained(parse_path_pattern, pattern)
    return text


RemotePattern = Annotated[
    str,
    Shape(REMOTE_OR_PATTERN, ("registry.example/team/**",)),
    AfterValidator(check_remote_or_pattern),
    Metavar("REMOTE"),
]
"""A remote, or a registry and a pattern of paths."""


def _check_name(text: str) -> str:
    if text:
        explained(parse_name, text)
    return text


class SyncItem(SyncOptions):
    """One entry of a list of syncs: a repository, or all that a pattern selects; with the fields of a sync."""

    field_order: ClassVar[FieldOrder] = FieldOrder(
        ("repository", "below", "include", "exclude", "newest", "platforms", "mode", "policy", "on_error"),
        ("also", "signed_by", "recheck", "batch_size"),
    )

    remote: RemotePattern = Field(title="Remote", description="Upstream repository, or a pattern of them.")
    also: tuple[Annotated[str, Shape(REMOTE)], ...] = Field(
        default=(), max_length=20, title="Also", description="Further remotes: the first that has a tag provides it."
    )
    repository: Annotated[str, Shape(NAME_OR_NOTHING)] = Field(
        default="", title="Repository", description="Name of the repository here. Default: the upstream's name."
    )
    below: Annotated[str, Shape(NAME_OR_NOTHING)] = Field(
        default="", title="Below", description="Put this before the names of repositories here."
    )

    @field_validator("also")
    @classmethod
    def _check_also(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(check_remote, texts))

    @field_validator("repository", "below")
    @classmethod
    def _check_names(cls, text: str) -> str:
        return _check_name(text)

    @model_validator(mode="after")
    def _check_pattern(self) -> "SyncItem":
        if self.pattern and (self.repository or self.also):
            raise misfit("{remote} is a pattern: expected {below}, and neither {repository} nor {also}")
        return self

    @property
    def pattern(self) -> str:
        """Return the pattern of paths; empty for one repository."""
        found = split_pattern(self.remote)
        return found[1] if found else ""

    @property
    def registry(self) -> Remote:
        """Return a remote at the registry, whose name means nothing."""
        found = split_pattern(self.remote)
        return parse_remote(f"{found[0]}/name" if found else self.remote)

    def sync_of(self, path: str = "", *, dry_run: bool = False) -> SyncRequest:
        """Return the sync of one path of the pattern, or of the repository; raise ValueError for a name that is too long."""
        found = split_pattern(self.remote)
        remote = f"{found[0]}/{path}" if found else self.remote
        name = self.repository or parse_remote(remote).reference.repository
        repository = f"{self.below}/{name}" if self.below and not self.repository else self.repository
        fields = self.model_dump(exclude_unset=True, exclude={"remote", "repository", "below"})
        return SyncRequest.model_validate(
            {**fields, "remote": remote} | ({"repository": repository} if repository else {}) | _if_set(dry_run=dry_run)
        )


def _if_set(**flags: bool) -> dict[str, bool]:
    return {name: value for name, value in flags.items() if value}


class SyncManyRequest(BaseModel):
    """Sync many repositories, each as a sync does. Credentials come from the settings."""

    model_config = _CONFIG
    field_order: ClassVar[FieldOrder] = FieldOrder(
        ("remotes", "below", "exclude_paths", "dry_run", "defaults"), ("chunks", "at_once", "syncs")
    )

    remotes: Annotated[tuple[RemotePattern, ...], Argument("REMOTE")] = Field(
        default=(),
        max_length=MAX_SYNCS,
        title="Remotes",
        description="Upstream repositories, or patterns of them where the registry lists its paths: `registry.example/team/**`.",
        examples=[["registry.example/team/**"]],
    )
    syncs: Annotated[tuple[SyncItem, ...], SetBy("--from-file")] = Field(
        default=(), max_length=MAX_SYNCS, title="Syncs", description="Further entries, each with the fields of a sync."
    )
    exclude_paths: Annotated[tuple[PathPatternField, ...], Option("--exclude-path")] = Field(
        default=(),
        title="Exclude paths",
        description="Exclude paths of patterns that match this path pattern. Repeatable.",
    )
    below: Annotated[str, Shape(NAME_OR_NOTHING, ("mirrors",)), Option(metavar="NAME")] = Field(
        default="",
        title="Below",
        description="Put this before the names of repositories here: `mirrors` makes `mirrors/team/app`.",
    )
    chunks: Annotated[int | None, Option(metavar="N")] = Field(
        default=None,
        ge=1,
        le=100,
        title="Chunks",
        description="Number of flow runs to split the work into. Default: one per worker slot.",
    )
    at_once: Annotated[int, Option(metavar="N")] = Field(
        default=DEFAULT_AT_ONCE, ge=1, le=64, title="At once", description="Repositories that one chunk syncs at once."
    )
    defaults: Annotated[SyncOptions, Group({})] = Field(
        default_factory=SyncOptions,
        title="Defaults",
        description="Fields of a sync, for entries that do not set them themselves.",
    )
    dry_run: DryRun = False

    @field_validator("below")
    @classmethod
    def _check_below(cls, text: str) -> str:
        return _check_name(text)

    @model_validator(mode="after")
    def _check_something(self) -> "SyncManyRequest":
        if not self.remotes and not self.syncs:
            raise misfit("expected {remotes} or {syncs}")
        return self

    @field_serializer("syncs")
    def _write_syncs(self, syncs: tuple[SyncItem, ...]) -> list[dict[str, Any]]:
        return [_written(one) for one in syncs]

    @field_serializer("defaults")
    def _write_defaults(self, defaults: SyncOptions) -> dict[str, Any]:
        return _written(defaults)

    def items(self) -> tuple[SyncItem, ...]:
        """Return every entry, completed by the defaults."""
        given = [{"remote": text} for text in self.remotes] + [_written(one) for one in self.syncs]
        defaults = _written(self.defaults) | ({"below": self.below} if self.below else {})
        return tuple(SyncItem.model_validate({**defaults, **one}) for one in given)

    @property
    def name(self) -> str:
        """Return what the run is called by: its first remote, and how many more there are."""
        remotes = [*self.remotes, *(one.remote for one in self.syncs)]
        more = f" and {len(remotes) - 1} more" if len(remotes) > 1 else ""
        return f"{remotes[0]}{more}"


class SyncChunkRequest(BaseModel):
    """Sync the repositories of one chunk. `sync-many` and `replicate-registry` start these runs."""

    model_config = _CONFIG

    syncs: tuple[SyncRequest, ...] = Field(
        min_length=1, title="Syncs", description="The syncs of this chunk, each of another repository here."
    )
    number: int = Field(default=1, ge=1, title="Number", description="Number of the chunk, from 1.")
    operation: str = Field(
        default="",
        max_length=100,
        title="Operation",
        description="Id of the run that this chunk belongs to: a version is made once for it, whichever process makes it.",
    )
    serve: Literal["public", "nobody"] = Field(
        default="public", title="Serve", description="Who is served new repositories: `public`, or `nobody` yet."
    )
    at_once: int = Field(
        default=DEFAULT_AT_ONCE, ge=1, le=64, title="At once", description="Repositories that are synced at once."
    )

    @field_validator("syncs")
    @classmethod
    def _check_logins(cls, syncs: tuple[SyncRequest, ...]) -> tuple[SyncRequest, ...]:
        if any(one.logins for one in syncs):
            raise ValueError("the syncs of a chunk share their connections: expected no logins of their own")
        return syncs

    @field_serializer("syncs")
    def _write_syncs(self, syncs: tuple[SyncRequest, ...]) -> list[dict[str, Any]]:
        return [one.model_dump(mode="json", exclude_defaults=True) for one in syncs]

    @property
    def name(self) -> str:
        """Return what the run is called by."""
        return f"{self.number}: {len(self.syncs)} repositories, {self.syncs[0].target} first"


def _written(form: BaseModel) -> dict[str, Any]:
    """Return what was set of a form: short enough for thousands of entries, and defaults stay apart from what was said."""
    return form.model_dump(mode="json", exclude_unset=True)


def written_size(request: SyncRequest) -> int:
    """Return the bytes of a sync among the parameters of a chunk."""
    return len(request.model_dump_json(exclude_defaults=True))
