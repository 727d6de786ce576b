"""Pinning and unpinning a version: what is so now, and the confirmation of the change."""

import hashlib
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from catalog.versions.pins import Pin
from catalog.versions.rows import VersionRow
from oci.errors import Conflict, InvalidInput, VersionUnknown
from registry_api.pages.changes.plans import check_writable, shell_command, show_version
from registry_api.pages.framework.own_forms import OwnForm, read_session_form
from registry_api.pages.framework.visible_paths import VisiblePath, read_visible_paths
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_LONGEST_NOTE = 1000
_Act = Literal["pin", "unpin"]


class PinPlan(BaseModel):
    """A version that would be pinned or unpinned: who made it and when, and its pin if it has one.

    `plan` is what this state is known by. `is_outdated`: another state was confirmed, and somebody has changed it since.
    """

    act: _Act
    name: str
    repository: str
    version: int
    operation: str
    actor: str
    tags: int
    is_pinned: bool
    note: str
    pinned_by: str
    plan: str
    is_outdated: bool
    command: str


router = APIRouter(route_class=PageRoute, include_in_schema=False)
PinnedNumber = Annotated[int, Query(ge=1, le=2**53)]


@router.get("/pin/{name:path}")
@router.get("/pin.json/{name:path}")
async def show_pin(visit: CurrentVisit, name: str, version: PinnedNumber) -> Response:
    """Show a version that would be pinned."""
    return await _respond(visit, "pin", name, version)


@router.get("/unpin/{name:path}")
@router.get("/unpin.json/{name:path}")
async def show_unpin(visit: CurrentVisit, name: str, version: PinnedNumber) -> Response:
    """Show a version that would be unpinned."""
    return await _respond(visit, "unpin", name, version)


@router.post("/pin/{name:path}")
async def post_pin(request: Request, visit: CurrentVisit, name: str) -> Response:
    """Pin a version, so that nothing deletes it."""
    return await _change(request, visit, "pin", name)


@router.post("/unpin/{name:path}")
async def post_unpin(request: Request, visit: CurrentVisit, name: str) -> Response:
    """Unpin a version."""
    return await _change(request, visit, "unpin", name)


async def _change(request: Request, visit: Visit, act: _Act, name: str) -> Response:
    form = await read_session_form(request, visit)
    check_writable(visit)
    version = form.number("version")
    visit.paths = await read_visible_paths(visit)
    path = _find(visit, name)
    change = _pin if act == "pin" else _unpin
    if not await visit.threads.commit(change, visit, path, version, form):
        return await _respond(visit, act, name, version, is_outdated=True)
    return show_version(name, version)


def _pin(visit: Visit, path: VisiblePath, version: int, form: OwnForm) -> bool:
    """Pin it; return whether it is so now by this visitor, False where the state was another one than shown."""
    note = form.get("note").strip()
    if len(note) > _LONGEST_NOTE:
        raise InvalidInput(f"the reason has {len(note)} characters; expected at most {_LONGEST_NOTE}")
    row, pin = _read(visit, path, version)
    if pin is not None:  # this form was sent twice, or somebody else was quicker
        return (pin.actor, pin.note) == (visit.account, note)
    if form.get("plan") != _state_id("pin", row, pin):
        return False
    made = Pin(path.repository, version, note, visit.account, visit.registry.now())
    try:
        visit.catalog.pins.add(made, address=visit.address, anew=True)
    except Conflict:
        return False
    return True


def _unpin(visit: Visit, path: VisiblePath, version: int, form: OwnForm) -> bool:
    """Unpin it; return whether it is so now, False where the pin was another one than shown."""
    row, pin = _read(visit, path, version)
    if pin is None:
        return True
    if form.get("plan") != _state_id("unpin", row, pin):
        return False
    actor, now = visit.account, visit.registry.now()
    try:
        visit.catalog.pins.remove(path.repository, version, actor=actor, now=now, address=visit.address, expected=pin)
    except (Conflict, VersionUnknown):
        return False
    return True


async def _respond(visit: Visit, act: _Act, name: str, version: int, *, is_outdated: bool = False) -> Response:
    def read(visit: Visit) -> PinPlan:
        path = _find(visit, name)
        row, pin = _read(visit, path, version)
        return PinPlan(
            act=act,
            name=name,
            repository=path.repository,
            version=version,
            operation=row.operation,
            actor=row.actor,
            tags=row.tags,
            is_pinned=pin is not None,
            note=pin.note if pin else "",
            pinned_by=pin.actor if pin else "",
            plan=_state_id(act, row, pin),
            is_outdated=is_outdated,
            command=shell_command(["version", act, path.repository, str(version)]),
        )

    return await visit.respond("pin.html", read, status=409 if is_outdated else 200)


def _find(visit: Visit, name: str) -> VisiblePath:
    """Return the place; raise NameUnknown, Unauthorized or Denied."""
    path = visit.paths.find(name)
    visit.check_history(path)
    visit.check("admin", path.repository)
    return path


def _read(visit: Visit, path: VisiblePath, version: int) -> tuple[VersionRow, Pin | None]:
    """Return a version and its pin; two queries. Raise VersionUnknown."""
    row = visit.catalog.history.version(path.repository, version)
    return row, next((pin for pin in visit.catalog.pins.of(path.repository) if pin.version == version), None)


def _state_id(act: _Act, row: VersionRow, pin: Pin | None) -> str:
    """Return what a version and its pin are known by. Pure."""
    text = f"{act} {row.repository}@{row.number} {row.operation_id} {pin}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
