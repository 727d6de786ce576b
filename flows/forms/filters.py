"""The filter language as fields of a flow's form, the same for every flow that takes filters. Source: docs/filters.md."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.filters.conditions import Conditions
from catalog.filters.filter import Filter
from catalog.filters.platforms import PlatformFilter
from catalog.filters.tags import Line, NewestBy, TagFilter
from flows.forms.faults import misfit
from flows.forms.fields import AgeField, PairField, PlatformText, TypeField
from flows.forms.parameters import Option
from flows.forms.shared_fields import Exclude, Include
from oci.platform import Platform


def _last(schema: dict[str, Any], form: type[BaseModel]) -> None:
    """Show the fields of filters after those that a form has of its own: its own class's first, the dry run last."""
    found = schema.get("properties", {})
    classes = [one for one in form.__mro__ if issubclass(one, BaseModel) and one is not Filters]
    own = [
        name for one in classes for name in one.__annotations__ if name in found and name not in Filters.model_fields
    ]
    own.sort(key=lambda name: name == "dry_run")
    schema["properties"] = {name: found[name] for name in (*own, *(name for name in found if name not in own))}


class Filters(BaseModel):
    """Select tags: those that patterns match and whose content meets every condition; of these the newest."""

    # A value that does not fit may hold a password typed in by mistake, so errors do not repeat it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, json_schema_extra=_last)

    include: Include = ()
    exclude: Exclude = ()
    types: Annotated[tuple[TypeField, ...], Option("--type")] = Field(
        default=(),
        title="Types",
        description="Select these types: `image`, `helm`, `sbom`, …, or globs of artifact types; `!TYPE` excludes. Repeatable.",
    )
    labels: Annotated[tuple[PairField, ...], Option("--label")] = Field(
        default=(),
        title="Labels",
        description="Select images with this label: `KEY`, `KEY=GLOB`, `!KEY` or `KEY!=GLOB`. Repeatable: all must hold.",
    )
    annotations: Annotated[tuple[PairField, ...], Option("--annotation")] = Field(
        default=(),
        title="Annotations",
        description="Select manifests with this annotation: `KEY`, `KEY=GLOB`, `!KEY` or `KEY!=GLOB`. Repeatable: all must hold.",
    )
    newer_than: AgeField = Field(
        default="",
        title="Newer than",
        description="Select content created after this: `30d`, `12h`, `1w2d` or `2026-01-31`.",
    )
    older_than: AgeField = Field(
        default="",
        title="Older than",
        description="Select content created before this: `30d`, `12h`, `1w2d` or `2026-01-31`.",
    )
    signed: bool = Field(
        default=False,
        title="Signed",
        description="Select signed content, whoever signed it; signatures are not verified.",
    )
    newest: Annotated[int | None, Option(metavar="N")] = Field(
        default=None, ge=1, title="Newest", description="Select the N newest of what the other filters leave."
    )
    newest_of: Line = Field(
        default="repository",
        title="Newest of",
        description="Count the newest per `repository`, per `major` version, or per `minor` version (1.2, 1.3, …).",
    )
    newest_by: NewestBy = Field(
        default="version",
        title="Newest by",
        description="Order tags by semantic `version`, or by when they were `created`.",
    )
    platforms: Annotated[tuple[PlatformText, ...], Option("--platform")] = Field(
        default=(),
        title="Platforms",
        description="Select these platforms of multi-platform images, `OS/ARCH[/VARIANT]`. Default: all. Repeatable.",
    )

    @model_validator(mode="after")
    def _check_newest(self) -> "Filters":
        if self.newest is None and self.newest_by != "version":
            raise misfit("{newest_by} needs {newest}")
        return self

    @property
    def wanted(self) -> Filter:
        """Return the same as a rule."""
        return Filter(
            TagFilter(self.include, self.exclude, self.newest, self.newest_of, self.newest_by),
            Conditions(self.types, self.labels, self.annotations, self.newer_than, self.older_than, signed=self.signed),
        )

    @property
    def platform_filter(self) -> PlatformFilter:
        """Return the platforms as a rule."""
        return PlatformFilter(tuple(Platform.parse(text) for text in self.platforms))
