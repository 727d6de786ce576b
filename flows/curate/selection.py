"""What a curation selects of the repositories here."""

from datetime import datetime

from catalog.catalog import Catalog
from catalog.content.curation import Curation, curate
from flows.curate.request import CurateRequest


def select_curation(catalog: Catalog, request: CurateRequest, *, now: datetime) -> Curation:
    """Return what a request selects, and what it drops with the reasons; raises what `curate` raises."""
    return curate(
        catalog,
        request.selectors,
        now=now,
        wanted=request.wanted,
        platforms=request.platform_filter,
    )
