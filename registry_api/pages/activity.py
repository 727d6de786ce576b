"""The page of activity: for administrators audit events, who did what and who was refused; for others versions made lately."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from catalog.audit import Event
from registry_api.pages.framework.flow_watch import RunInProgress
from registry_api.pages.framework.formats import prefect_ui_url
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit
from registry_api.pages.home import (
    RecentVersionOut,
    RunInProgressOut,
    list_recent_versions,
    list_runs_in_progress,
)

_MOST = 100
_MOST_CHARACTERS = 500
Days = Literal[1, 7, 30, 365]


class AuditEventOut(BaseModel):
    """An audit event; versions that were made are among them."""

    happened_at: datetime
    actor: str
    action: str
    name: str
    outcome: str
    reason: str
    address: str
    detail: str


class ActivityPage(BaseModel):
    """The last events of so many days that fit; `events` is None for who is no administrator, and so is `in_progress`.

    `in_progress`, the flow runs under way, is None, too, if Prefect does not answer.
    """

    days: int
    actor: str
    action: str
    name: str
    refused: bool
    events: list[AuditEventOut] | None
    versions: list[RecentVersionOut]
    in_progress: list[RunInProgressOut] | None


router = APIRouter(route_class=PageRoute, include_in_schema=False)
Text = Annotated[str, Query(max_length=300)]


@router.get("/activity")
@router.get("/activity.json")
async def show_activity(
    visit: CurrentVisit,
    actor: Text = "",
    action: Text = "",
    name: Text = "",
    days: Annotated[int, Query(ge=1, le=3650)] = 7,
    *,
    refused: bool = False,
) -> Response:
    """Show what was done lately, and what was refused."""
    wanted = {"actor": actor.strip(), "action": action.strip(), "name": name.strip()}
    runs = await visit.site.runs.look() if visit.is_administrator else None
    return await visit.respond(
        "activity.html",
        lambda visit: read_activity(visit, wanted, runs, days=days, refused=refused),
        block="results",
    )


def read_activity(
    visit: Visit, wanted: Mapping[str, str], runs: Sequence[RunInProgress] | None, *, days: int, refused: bool
) -> ActivityPage:
    """Return the view model; one query."""
    events: list[AuditEventOut] | None = None
    versions: list[RecentVersionOut] = []
    if visit.is_administrator:
        since = visit.registry.now() - timedelta(days=days)
        outcome = "refused" if refused else ""
        found = visit.catalog.events.latest(limit=_MOST, since=since, outcome=outcome, **wanted)
        events = [_audit_event_out(event) for event in found]
    else:
        recent = visit.recent()
        versions = list(islice(list_recent_versions(recent.latest, recent.heads, visit.paths), _MOST))
    ui = prefect_ui_url(visit.catalog.settings)
    in_progress = None if runs is None else list_runs_in_progress(runs, ui)
    return ActivityPage(days=days, refused=refused, events=events, versions=versions, in_progress=in_progress, **wanted)


def _audit_event_out(event: Event) -> AuditEventOut:
    detail = ", ".join(f"{key}={value}" for key, value in event.detail.items() if value not in ("", None, 0))
    return AuditEventOut(
        happened_at=event.happened_at,
        actor=event.actor,
        action=event.action,
        name=event.name,
        outcome=event.outcome,
        reason=event.reason[:_MOST_CHARACTERS],
        address=event.address,
        detail=detail[:_MOST_CHARACTERS],
    )
