"""The page of space, for administrators: what repositories take and share, and what could be freed; as it was last computed."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from catalog.space.report import (
    GcForecast,
    ReclaimForecast,
    RepositorySpace,
    RetentionForecast,
    SpaceReport,
    SpaceTotals,
)
from oci.errors import EntrepotError
from registry_api.pages.framework.own_forms import read_session_form
from registry_api.pages.framework.responses import redirect_response
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

log = logging.getLogger("registry_api")
_ROWS = 200
_PATIENCE = 3.0
"""Seconds for which the button waits; what takes longer is shown when the page is opened again."""

_running: set[asyncio.Task[None]] = set()


class SpaceRowOut(BaseModel):
    """A repository, or all repositories below a first part of their names; bytes of all versions, each blob once in each."""

    name: str
    is_group: bool
    repositories: int
    bytes: int
    own: int
    shared: int


class SpacePage(BaseModel):
    """The last report: its sizes, and the repositories below `prefix` by the next part of their names, the largest first."""

    prefix: str
    parents: list[str]
    computed_at: datetime | None
    seconds: float
    error: str
    running_since: datetime | None
    totals: SpaceTotals | None
    gc: GcForecast | None
    reclaim: ReclaimForecast | None
    retention: RetentionForecast | None
    rows: list[SpaceRowOut]
    total_rows: int
    unnamed_repositories: int


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/space")
@router.get("/space.json")
async def show_space(visit: CurrentVisit, prefix: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Show what repositories take."""
    visit.check_administrator()
    return await visit.respond("space.html", lambda visit: read_space(visit, prefix.strip("/ ")))


@router.post("/space")
async def post_space(request: Request, visit: CurrentVisit) -> Response:
    """Compute the report anew, unless that is under way; wait for a short one."""
    await read_session_form(request, visit)
    visit.check_administrator()
    if await visit.threads.run(visit.site.space.begin, visit.account, visit.registry.now()):
        task = asyncio.create_task(_compute(visit))
        _running.add(task)
        task.add_done_callback(_running.discard)
        await asyncio.wait({task}, timeout=_PATIENCE)
    return redirect_response("/space")


async def _compute(visit: Visit) -> None:
    from catalog.space.forecast import compute_report

    now = visit.registry.now()
    try:
        await visit.threads.run(visit.site.space.end, lambda: compute_report(visit.catalog, now=now))
    except (EntrepotError, OSError) as error:
        log.warning("the report of space could not be computed error=%s", error)


def read_space(visit: Visit, prefix: str) -> SpacePage:
    """Return the view model; no query."""
    report: SpaceReport = visit.site.space.last()
    rows = group_repositories(report.repositories, prefix)
    parts = prefix.split("/") if prefix else []
    return SpacePage(
        prefix=prefix,
        parents=["/".join(parts[: count + 1]) for count in range(len(parts))],
        computed_at=report.computed_at,
        seconds=report.seconds,
        error=report.error,
        running_since=report.started_at if report.is_running(visit.registry.now()) else None,
        totals=report.totals,
        gc=report.gc,
        reclaim=report.reclaim,
        retention=report.retention,
        rows=rows[:_ROWS],
        total_rows=len(rows),
        unnamed_repositories=report.total_repositories - len(report.repositories),
    )


def group_repositories(repositories: Iterable[RepositorySpace], prefix: str) -> list[SpaceRowOut]:
    """Return repositories below a prefix, those below a further part of their names as one; the largest first. Pure."""
    below = f"{prefix}/" if prefix else ""
    groups: dict[tuple[str, bool], list[RepositorySpace]] = {}
    for one in repositories:
        if one.name.startswith(below):
            first, slash, _ = one.name[len(below) :].partition("/")
            groups.setdefault((f"{below}{first}", bool(slash)), []).append(one)
    rows = [_row_of(name, some, is_group=is_group) for (name, is_group), some in groups.items()]
    return sorted(rows, key=lambda row: (-row.bytes, row.name, row.is_group))


def _row_of(name: str, some: Sequence[RepositorySpace], *, is_group: bool) -> SpaceRowOut:
    shared = sum(one.shared for one in some)
    total = sum(one.bytes for one in some)
    return SpaceRowOut(
        name=name, is_group=is_group, repositories=len(some), bytes=total, own=total - shared, shared=shared
    )
