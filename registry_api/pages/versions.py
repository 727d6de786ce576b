"""The pages of a repository's history: who made which version when, from where; and what differs between any two."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from catalog.browse.version_pages import ListedVersion
from catalog.content.diff import diff_versions
from oci.reference import VersionReference
from registry_api.pages.changes.plans import TagChangeOut, list_tag_changes
from registry_api.pages.framework.formats import FLOW_RUN, prefect_ui_url
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_PAGE = 50
_MOST = 2**53


class ListedVersionOut(BaseModel):
    """A version: the operation that made it, who, when, from where; `pin` is the note of its pin, None where it has none."""

    number: int
    operation: str
    actor: str
    message: str
    flow_run_id: str
    flow_run_url: str
    origins: list[str]
    created_at: datetime
    tags: int
    size_bytes: int
    added: int
    removed: int
    pin: str | None


class VersionsPage(BaseModel):
    """Versions below `before`, newest first; `next` is below which the following page begins, None on the last one.

    `can_restore` and `can_pin` say which buttons there are; `made` is a version that a button has just made, 0 for none.
    """

    name: str
    repository: str
    before: int | None
    latest: int
    versions: list[ListedVersionOut]
    next: int | None
    can_restore: bool
    can_pin: bool
    made: int


class DiffPage(BaseModel):
    """What leads from one version to another; `total_changes` counts the tags, also those beyond a very long list.

    `can_restore`: buttons restore either version, unless it is the latest.
    """

    name: str
    old: int
    new: int
    added: int
    moved: int
    removed: int
    manifests_added: int
    manifests_removed: int
    bytes_added: int
    bytes_removed: int
    changes: list[TagChangeOut]
    total_changes: int
    latest: int
    can_restore: bool


router = APIRouter(route_class=PageRoute, include_in_schema=False)
Number = Annotated[int, Query(ge=0, le=_MOST)]


@router.get("/versions/{name:path}")
@router.get("/versions.json/{name:path}")
async def show_versions(visit: CurrentVisit, name: str, before: Number = _MOST, made: Number = 0) -> Response:
    """Show a repository's versions, newest first."""
    return await visit.respond("versions.html", lambda visit: read_version_list(visit, name, before, made=made))


@router.get("/diff/{name:path}")
@router.get("/diff.json/{name:path}")
async def show_diff(visit: CurrentVisit, name: str, old: Number, new: Number) -> Response:
    """Show what differs between two versions."""
    return await visit.respond("diff.html", lambda visit: read_diff(visit, name, old, new))


def read_version_list(visit: Visit, name: str, before: int, *, made: int = 0) -> VersionsPage:
    """Return the view model; one query. Raise NameUnknown."""
    path = visit.paths.find(name)
    visit.check_history(path)
    listed = visit.catalog.browse.versions(path.repository, before=before, limit=_PAGE + 1)
    ui = prefect_ui_url(visit.catalog.settings)
    latest = visit.catalog.snapshots.get(path.repository).version
    return VersionsPage(
        name=name,
        repository=path.repository,
        before=None if before > latest else before,
        latest=latest,
        versions=[_listed_out(one, ui) for one in listed[:_PAGE]],
        next=listed[_PAGE - 1].row.number if len(listed) > _PAGE else None,
        can_restore=visit.may_restore(path.repository),
        can_pin=visit.may_change("admin", path.repository),
        made=made if any(one.row.number == made for one in listed[:_PAGE]) else 0,
    )


def _listed_out(listed: ListedVersion, ui: str) -> ListedVersionOut:
    row = listed.row
    is_run = FLOW_RUN.fullmatch(row.flow_run_id or "") is not None
    return ListedVersionOut(
        number=row.number,
        operation=row.operation,
        actor=row.actor,
        message=row.message,
        flow_run_id=row.flow_run_id,
        flow_run_url=f"{ui}/runs/flow-run/{row.flow_run_id}" if is_run and ui else "",
        origins=[str(origin) for origin in row.origins],
        created_at=row.created_at,
        tags=row.tags,
        size_bytes=row.size_bytes,
        added=row.added,
        removed=row.removed,
        pin=listed.pin,
    )


def read_diff(visit: Visit, name: str, old: int, new: int) -> DiffPage:
    """Return the view model; a query for each version that is not in memory. Raise NameUnknown or VersionUnknown."""
    path = visit.paths.find(name)
    visit.check_history(path)
    ends = VersionReference(path.repository, old), VersionReference(path.repository, new)
    found = diff_versions(visit.catalog, *ends, packages=False)
    delta, moved = found.delta, set(found.moved)
    return DiffPage(
        name=name,
        old=old,
        new=new,
        added=len(delta.tags_added) - len(moved),
        moved=len(moved),
        removed=len(delta.tags_removed) - len(moved),
        manifests_added=len(delta.manifests_added),
        manifests_removed=len(delta.manifests_removed),
        bytes_added=delta.bytes_added,
        bytes_removed=delta.bytes_removed,
        changes=list_tag_changes(delta),
        total_changes=len(delta.tags_added.keys() | delta.tags_removed.keys()),
        latest=visit.catalog.snapshots.get(path.repository).version,
        can_restore=visit.may_restore(path.repository),
    )
