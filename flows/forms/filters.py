"""The filter language as fields of a flow's form, the same for every flow that takes filters. Source: docs/filters.md."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from catalog.filters.conditions import Conditions, PairText, TypeText
from catalog.filters.filter import Filter
from catalog.filters.platforms import PlatformFilter
from catalog.filters.tags import Line, NewestBy, TagFilter, TagPattern
from catalog.units import Age
from flows.forms.fields import NEWEST_OF, PATTERNS, PlatformText
from oci.platform import Platform

_PAIRS = "`KEY`, `KEY=VALUE` (a glob), `!KEY` or `KEY!=VALUE`; all of them."
_AGE = "an age (`30d`, `12h`, `1w2d`) or a date (`2026-01-31`)"


def _last(schema: dict[str, Any], form: type[BaseModel]) -> None:
    """Show the fields of filters after those that a form has of its own."""
    found = schema.get("properties", {})
    if form is not Filters:
        own = {name: found[name] for name in found if name not in Filters.model_fields}
        schema["properties"] = own | {name: found[name] for name in found if name not in own}


class Filters(BaseModel):
    """Which tags are taken: those that patterns leave, whose content fulfils every condition; of these the newest."""

    # A value that does not fit may hold a password typed in by mistake, so errors do not repeat it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, json_schema_extra=_last)

    include: tuple[TagPattern, ...] = Field(
        default=(), title="Include", description=f"Tags to take; none: every tag. {PATTERNS}"
    )
    exclude: tuple[TagPattern, ...] = Field(
        default=(), title="Exclude", description="Tags to leave out, as patterns; stronger than include."
    )
    types: tuple[TypeText, ...] = Field(
        default=(),
        title="Types",
        description="Take these only: kinds (`image`, `helm`, …) or globs of artifact types; any of them, none after `!`.",
    )
    labels: tuple[PairText, ...] = Field(
        default=(), title="Labels", description=f"What labels of the image config must be: {_PAIRS}"
    )
    annotations: tuple[PairText, ...] = Field(
        default=(), title="Annotations", description=f"What annotations of the manifest must be: {_PAIRS}"
    )
    newer_than: Age = Field(default="", title="Newer than", description=f"Take what was created after {_AGE}.")
    older_than: Age = Field(default="", title="Older than", description=f"Take what was created before {_AGE}.")
    signed: bool = Field(
        default=False, title="Signed", description="Take what is signed, by whoever; verifying is another matter."
    )
    newest: int | None = Field(
        default=None,
        ge=1,
        title="Newest",
        description="Of all that is selected so far take only so many of the newest.",
    )
    newest_of: Line = Field(default="repository", title="Newest of", description=NEWEST_OF)
    newest_by: NewestBy = Field(
        default="version",
        title="Newest by",
        description="What makes a tag newer: its semantic `version`, or when what it points to was `created`.",
    )
    platforms: tuple[PlatformText, ...] = Field(
        default=(),
        title="Platforms",
        description="Of multi-platform images take these only, `os/architecture[/variant]`; none: all.",
    )

    @model_validator(mode="after")
    def _check_newest(self) -> "Filters":
        if self.newest is None and self.newest_by != "version":
            raise ValueError("newest_by says what the newest are: give newest, how many of them, too")
        return self

    @property
    def wanted(self) -> Filter:
        """The same as a rule."""
        return Filter(
            TagFilter(self.include, self.exclude, self.newest, self.newest_of, self.newest_by),
            Conditions(self.types, self.labels, self.annotations, self.newer_than, self.older_than, signed=self.signed),
        )

    @property
    def platform_filter(self) -> PlatformFilter:
        """The platforms as a rule."""
        return PlatformFilter(tuple(Platform.parse(text) for text in self.platforms))
