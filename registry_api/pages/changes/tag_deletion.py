"""Deleting tags: the plan of a version without them, and its confirmation. Their manifests stay, as with `/v2`."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from catalog.versions.changes import RemoveTag
from catalog.versions.snapshot import Snapshot
from oci.errors import Denied, InvalidInput
from oci.reference import parse_tag
from registry_api.pages.changes.plans import (
    ChangePlan,
    PlannedCommit,
    Planner,
    bound_to,
    check_writable,
    confirm_plan,
    new_nonce,
    read_plan,
    shell_command,
)
from registry_api.pages.framework.formats import link_to
from registry_api.pages.framework.own_forms import read_session_form
from registry_api.pages.framework.responses import redirect_response
from registry_api.pages.framework.visible_paths import VisiblePath, read_visible_paths
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit
from registry_api.path_changes import check_changeable, make_commit

MOST_SELECTED = 100
"""Tags that are selected at a time."""

SelectedTags = Annotated[list[Annotated[str, Field(max_length=128)]], Query(max_length=MOST_SELECTED)]


class DeletionPlan(ChangePlan):
    """The plan to delete tags of a path."""

    tags: list[str]


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/delete-tags/{name:path}")
@router.get("/delete-tags.json/{name:path}")
async def show_deletion(visit: CurrentVisit, name: str, tag: SelectedTags) -> Response:
    """Show what deleting tags would change."""
    return await _respond(visit, name, parse_selected(tag))


@router.post("/delete-tags/{name:path}")
async def post_deletion(request: Request, visit: CurrentVisit, name: str) -> Response:
    """Delete tags by the plan that was shown."""
    form = await read_session_form(request, visit)
    check_writable(visit)
    tags = parse_selected(form.all("tag"))
    visit.paths = await read_visible_paths(visit)
    path = _find(visit, name)
    made = await confirm_plan(visit, form, path.repository, _planner(path, tags))
    if made is None:
        return await _respond(visit, name, tags, is_outdated=True)
    return redirect_response(link_to("repository", name, query={"deleted": len(tags)}))


def parse_selected(texts: Sequence[str]) -> list[str]:
    """Return selected tags, each once; raise InvalidInput for none or too many, TagInvalid for what is no tag."""
    tags = list(dict.fromkeys(texts))
    if not tags:
        raise InvalidInput("no tag is selected; go back and select some")
    if len(tags) > MOST_SELECTED:
        raise InvalidInput(f"{len(tags)} tags are selected; at most {MOST_SELECTED} at a time")
    return [parse_tag(tag) for tag in tags]


def may_delete_tags(visit: Visit, path: VisiblePath) -> bool:
    """Return whether the visitor has a button that deletes tags of a path."""
    if not visit.may_change("delete", path.name):
        return False
    try:
        _check_path(visit, path)
    except Denied:
        return False
    return True


async def _respond(visit: Visit, name: str, tags: list[str], *, is_outdated: bool = False) -> Response:
    def read(visit: Visit) -> DeletionPlan:
        path = _find(visit, name)
        options = [part for tag in tags for part in ("--untag", tag)]
        fields = read_plan(visit, _planner(path, tags))
        return DeletionPlan(
            **(fields if path.has_history else {**fields, "base": 0}),
            name=name,
            repository=path.repository if path.has_history else "",
            tags=tags,
            is_outdated=is_outdated,
            command=shell_command(["curate", path.repository, *options]) if path.has_history else "",
        )

    return await visit.respond(
        "delete-tags.html", read, status=409 if is_outdated else 200, variables={"nonce": new_nonce()}
    )


def _find(visit: Visit, name: str) -> VisiblePath:
    """Return the place; raise NameUnknown, Unauthorized or Denied, as a deletion under `/v2` would."""
    path = visit.paths.find(name)
    visit.check("delete", path.name)
    _check_path(visit, path)
    return path


def _check_path(visit: Visit, path: VisiblePath) -> None:
    distributions = visit.catalog.distributions
    served = distributions.find(path.name)
    check_changeable(visit.registry, "delete", path.name, served, distributions.find_cache(path.name))


def _planner(path: VisiblePath, tags: Sequence[str]) -> Planner:
    def plan(visit: Visit) -> PlannedCommit:
        base = visit.catalog.snapshots.find(path.repository) or Snapshot(path.repository, 0)
        changes = tuple(map(RemoveTag, tags))
        commit = make_commit(visit.registry, path.repository, visit.account, "delete", changes)
        return PlannedCommit(base, bound_to(base, commit))

    return plan
