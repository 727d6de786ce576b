"""The form of a copy: the options of the command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog.filters.platforms import PlatformFilter
from catalog.filters.tags import Line, TagFilter
from catalog.parsed_text import explained
from flows.forms.faults import credentials_left_out, misfit
from flows.forms.fields import PlatformText
from flows.forms.modes import OnError
from flows.forms.parameters import Argument, Option
from flows.forms.shared_fields import Companions, DryRun, Exclude, Include
from oci.digest import Digest
from oci.errors import NameInvalid
from oci.platform import Platform
from oci.reference import parse_tag
from oci.remote.address import Remote, parse_remote

LAYOUT = "oci:"
"""What the name of an image layout begins with, as other tools write it."""


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """A repository of a registry (`remote`), or an image layout (`layout`); with a tag or a digest, one image of it."""

    remote: Remote | None = None
    layout: Path | None = None
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Return host/repository, or the folder with `oci:` before it."""
        return str(self.remote.reference) if self.remote else f"{LAYOUT}{self.layout}"

    @property
    def pinned(self) -> str:
        """Return the one tag, or else digest, that is named; empty for none."""
        return self.tag or str(self.digest or "")


def parse_place(text: str) -> CopyPlace:
    """Read `[SCHEME://]HOST/NAME[:TAG][@DIGEST]` or `oci:FOLDER[:TAG]`; raise NameInvalid, TagInvalid or DigestInvalid."""
    if not text.startswith(LAYOUT):
        if "@" in text.rpartition("://")[2].partition("/")[0]:
            raise NameInvalid(credentials_left_out("remote"))
        remote = parse_remote(text)
        reference = remote.reference
        return CopyPlace(remote.repository_only(), None, reference.tag or "", reference.digest)
    folder, colon, tag = text.removeprefix(LAYOUT).rpartition(":")
    if not colon or "/" in tag:
        folder, tag = text.removeprefix(LAYOUT), ""
    if not folder:
        raise NameInvalid(f"invalid layout {text[:200]!r}: expected oci:FOLDER or oci:FOLDER:TAG")
    return CopyPlace(None, Path(folder), parse_tag(tag) if tag else "")


class CopyRequest(BaseModel):
    """Copy tags of one repository into another, neither of them here. Credentials come from the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    source: Annotated[str, Argument("SOURCE")] = Field(
        title="Source",
        description="Copy from here: `registry.example/team/app[:tag][@digest]`, or `oci:FOLDER[:tag]`, an image layout.",
    )
    target: Annotated[str, Argument("TARGET")] = Field(
        title="Target",
        description="Copy to here: `second.example/team/app[:tag]`, or `oci:FOLDER[:tag]`. A tag needs one image as SOURCE.",
    )
    include: Include = ()
    exclude: Exclude = ()
    newest: Annotated[int | None, Option(metavar="N")] = Field(
        default=None, ge=1, title="Newest", description="Select the N newest of what the other filters leave."
    )
    newest_of: Line = Field(
        default="repository",
        title="Newest of",
        description="Count the newest per `repository`, per `major` version, or per `minor` version (1.2, 1.3, …).",
    )
    platforms: Annotated[tuple[PlatformText, ...], Option("--platform")] = Field(
        default=(),
        title="Platforms",
        description="Copy these platforms of multi-platform images, `OS/ARCH[/VARIANT]`, under an index of them alone. "
        "Default: all. Repeatable.",
    )
    companions: Companions = ("*",)
    on_error: OnError = Field(
        default="fail",
        title="On error",
        description="When a tag cannot be copied: `fail` sets no tag at all; `skip` sets the other tags.",
    )
    dry_run: DryRun = False

    @field_validator("source", "target")
    @classmethod
    def _check_place(cls, text: str) -> str:
        explained(parse_place, text)
        return text

    @model_validator(mode="after")
    def _check_together(self) -> "CopyRequest":
        source, target = self.origin, self.destination
        if target.digest is not None:
            raise misfit("{target}: expected no digest")
        if target.tag and not source.pinned:
            raise misfit("{target}: expected no tag, unless {source} names one tag or digest")
        if source.pinned and (self.include or self.exclude or self.newest):
            raise misfit("{source} names one tag or digest: expected no filters")
        if source.name == target.name and (target.tag or source.tag) == source.tag:
            raise misfit("{source} and {target}: expected two places, or another tag")
        return self

    @property
    def origin(self) -> CopyPlace:
        """Return the source, parsed."""
        return parse_place(self.source)

    @property
    def destination(self) -> CopyPlace:
        """Return the target, parsed."""
        return parse_place(self.target)

    @property
    def tags(self) -> TagFilter:
        """Return the filters of tags as a rule."""
        return TagFilter(self.include, self.exclude, self.newest, self.newest_of)

    @property
    def platform_filter(self) -> PlatformFilter:
        """Return the platforms as a rule."""
        return PlatformFilter(tuple(Platform.parse(text) for text in self.platforms))
