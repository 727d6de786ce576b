"""What a curation is asked to do: the parameters of the flow; and what that chooses."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from catalog.catalog import Catalog
from catalog.content.curation import Curation, curate
from catalog.content.edits import Edits, TagEdit
from catalog.filters.filter import Filter
from catalog.filters.pick import Pick
from catalog.filters.tags import TagPattern
from catalog.parsed_text import checked
from flows.forms.fields import RepositoryName
from flows.forms.filters import Filters
from flows.forms.modes import Mode
from oci.digest import Digest
from oci.reference import parse_tag

PlanId = Annotated[str, AfterValidator(lambda text: text and checked(Digest.parse)(text))]
"""What a dry run has told its plan's name to be; empty: any plan."""


class CurateSource(Filters):
    """A repository with filters of its own, as a list of sources holds it."""

    repository: RepositoryName = Field(title="Repository")
    tags: tuple[Annotated[str, AfterValidator(checked(parse_tag))], ...] = Field(
        default=(), title="Tags", description="These tags, besides what filters choose if there are any."
    )
    digests: tuple[Annotated[str, AfterValidator(checked(Digest.parse))], ...] = Field(
        default=(), title="Digests", description="These manifests."
    )

    @model_validator(mode="after")
    def _check_platforms(self) -> "CurateSource":
        if self.platforms:
            raise ValueError("platforms hold for all sources; set them beside the list")
        return self

    @property
    def picks(self) -> list[Pick]:
        """What is chosen: what is named, and what filters choose where there are filters or nothing is named."""
        named = [Pick(self.repository, tag) for tag in self.tags]
        named += [Pick(self.repository, digest=Digest(text)) for text in self.digests]
        filtered = [Pick(self.repository, wanted=self.wanted)] if not named or self.wanted != Filter() else []
        return named + filtered


class CurateRequest(Filters):
    """Make a version of a repository from tags and digests of repositories here. Nothing is copied: content is held once."""

    repository: RepositoryName = Field(title="Repository", description="The repository that gets the version.")
    sources: tuple[Annotated[str, AfterValidator(checked(Pick.parse))] | CurateSource, ...] = Field(
        default=(),
        title="Sources",
        description="`NAME` (its tags, by the filters below), `NAME:TAG`, `NAME@DIGEST`, `NAME:TAG@DIGEST`, or a repository with "
        "filters of its own; none: what is there is edited.",
    )
    mode: Mode = Field(
        default="mirror",
        title="Mode",
        description="`mirror` makes the version exactly what is chosen; `additive` leaves what is there.",
    )
    tag: tuple[Annotated[str, AfterValidator(checked(TagEdit.parse))], ...] = Field(
        default=(), title="Tag", description="Tags to set, after the choice: `NEW=TAG` or `NEW=DIGEST`."
    )
    untag: tuple[TagPattern, ...] = Field(
        default=(), title="Untag", description="Tags to take away, as patterns; what they point to stays."
    )
    remove: tuple[TagPattern, ...] = Field(
        default=(),
        title="Remove",
        description="Tags (patterns) and manifests (digests) to remove with all that belongs to them alone.",
    )
    allow_empty: bool = Field(
        default=False, title="Allow empty", description="Make a version of nothing, if it comes to that."
    )
    expect: PlanId = Field(
        default="",
        title="Expect",
        description="Do exactly the plan that a dry run has told by this name, or nothing.",
    )
    dry_run: bool = Field(default=False, title="Dry run", description="Say what would change, and change nothing.")

    @model_validator(mode="after")
    def _check_sources(self) -> "CurateRequest":
        if not self.sources and not self.edits:
            raise ValueError("name what to choose from (sources), or what to edit: tag, untag, remove")
        if not self.sources and (self.wanted != Filter() or self.platforms):
            raise ValueError("filters choose from sources, and there are none")
        return self

    @property
    def edits(self) -> Edits:
        """What is done to the content after the choice."""
        return Edits(tuple(map(TagEdit.parse, self.tag)), self.untag, self.remove)

    @property
    def picks(self) -> list[Pick]:
        """What is chosen."""
        return [
            pick for one in self.sources for pick in (one.picks if isinstance(one, CurateSource) else [Pick.parse(one)])
        ]


def choose_content(catalog: Catalog, request: CurateRequest, *, now: datetime) -> Curation:
    """Choose; raises what `curate` raises."""
    return curate(
        catalog,
        request.picks,
        now=now,
        wanted=request.wanted,
        platforms=request.platform_filter,
    )
