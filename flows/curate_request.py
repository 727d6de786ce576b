"""What a curation is asked to do: the parameters of the flow; and what that chooses."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from catalog.catalog import Catalog
from catalog.curation import Curation, Pick, curate
from flows.filter_fields import Filters
from flows.request_fields import RepositoryName, checked
from flows.sync_request import Mode


class CurateRequest(Filters):
    """Make a version of a repository from tags and digests of repositories here. Nothing is copied: content is held once."""

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
    dry_run: bool = Field(default=False, title="Dry run", description="Say what would change, and change nothing.")


def choose_content(catalog: Catalog, request: CurateRequest, *, now: datetime) -> Curation:
    """Choose; raises what `curate` raises."""
    return curate(
        catalog,
        [Pick.parse(text) for text in request.sources],
        now=now,
        wanted=request.wanted,
        platforms=request.platform_filter,
    )
