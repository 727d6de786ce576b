"""What a curation is asked to do: the parameters of the flow."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from catalog.curation import Pick
from catalog.filters import Line, TagFilter
from flows.request_fields import NEWEST_OF, PATTERNS, Pattern, PlatformText, RepositoryName, checked
from flows.sync_request import Mode


class CurateRequest(BaseModel):
    """Make a version of a repository from tags and digests of repositories here. Nothing is copied: content is held once."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    repository: RepositoryName = Field(title="Repository", description="The repository that gets the version.")
    sources: tuple[Annotated[str, AfterValidator(checked(Pick.parse))], ...] = Field(
        min_length=1,
        title="Sources",
        description="`NAME` (its tags, by the filters below), `NAME:TAG`, `NAME@DIGEST`, or `NAME:TAG@DIGEST`.",
    )
    mode: Mode = Field(
        default="mirror",
        title="Mode",
        description="`mirror` makes the version exactly what is chosen; `additive` leaves what is there.",
    )
    include: tuple[Pattern, ...] = Field(
        default=(), title="Include", description=f"Tags to take of whole repositories; none: every tag. {PATTERNS}"
    )
    exclude: tuple[Pattern, ...] = Field(
        default=(), title="Exclude", description="Tags to leave out, as patterns; stronger than include."
    )
    newest: int | None = Field(
        default=None, ge=1, title="Newest", description="Of each repository's tags only the highest semantic versions."
    )
    newest_of: Line = Field(default="repository", title="Newest of", description=NEWEST_OF)
    platforms: tuple[PlatformText, ...] = Field(
        default=(), title="Platforms", description="Of multi-platform images these only; none: all."
    )
    dry_run: bool = Field(default=False, title="Dry run", description="Say what would change, and change nothing.")

    @property
    def tag_filter(self) -> TagFilter:
        """Which tags are chosen of whole repositories."""
        return TagFilter(self.include, self.exclude, self.newest, self.newest_of)
