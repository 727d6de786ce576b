"""Restoring a version: the plan of a new version with the content of an old one, and its confirmation."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from registry_api.management.restore import plan_restore
from registry_api.pages.changes.plans import (
    ChangePlan,
    PlannedCommit,
    Planner,
    check_writable,
    confirm_plan,
    new_nonce,
    read_plan,
    shell_command,
    show_version,
)
from registry_api.pages.framework.own_forms import read_session_form
from registry_api.pages.framework.visible_paths import VisiblePath, read_visible_paths
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_MOST = 2**53


class RestorePlan(ChangePlan):
    """The plan to give a repository the content of one of its versions; 0 is the empty one."""

    version: int


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/restore/{name:path}")
@router.get("/restore.json/{name:path}")
async def show_restore(visit: CurrentVisit, name: str, version: Annotated[int, Query(ge=0, le=_MOST)]) -> Response:
    """Show what restoring a version would change."""
    return await _respond(visit, name, version)


@router.post("/restore/{name:path}")
async def post_restore(request: Request, visit: CurrentVisit, name: str) -> Response:
    """Restore a version by the plan that was shown."""
    form = await read_session_form(request, visit)
    check_writable(visit)
    version = form.number("version")
    visit.paths = await read_visible_paths(visit)
    path = _find(visit, name)
    made = await confirm_plan(visit, form, path.repository, _planner(path, version))
    if made is None:
        return await _respond(visit, name, version, is_outdated=True)
    return show_version(name, made, is_new=True)


async def _respond(visit: Visit, name: str, version: int, *, is_outdated: bool = False) -> Response:
    def read(visit: Visit) -> RestorePlan:
        path = _find(visit, name)
        return RestorePlan(
            **read_plan(visit, _planner(path, version)),
            name=name,
            repository=path.repository,
            version=version,
            is_outdated=is_outdated,
            command=shell_command(["version", "restore", path.repository, str(version)]),
        )

    return await visit.respond(
        "restore.html", read, status=409 if is_outdated else 200, variables={"nonce": new_nonce()}
    )


def _find(visit: Visit, name: str) -> VisiblePath:
    """Return the place; raise NameUnknown, Unauthorized or Denied."""
    path = visit.paths.find(name)
    visit.check_history(path)
    for action in ("push", "delete"):
        visit.check(action, path.repository)
    return path


def _planner(path: VisiblePath, version: int) -> Planner:
    return lambda visit: PlannedCommit(*plan_restore(visit, path.repository, version))
