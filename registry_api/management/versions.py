"""Versions over HTTP: show, compare, restore, pin and delete.

Reading needs `pull` on the repository, restoring `push` and `delete`, changes of its history `admin`.
"""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from catalog.content.diff import diff_versions
from catalog.versions.changes import CommitResult
from catalog.versions.pins import Pin
from catalog.versions.snapshot import Snapshot, delta_between
from catalog.versions.timeline import NUMBERS_PATTERN, parse_numbers
from oci.reference import MAX_NAME, NAME_PATTERN, parse_name, parse_version_reference
from registry_api.management.content import NUMBER, NamePath, VersionOut
from registry_api.management.dependencies import FAILURES, Context, ManagementRoute, RequestContext
from registry_api.management.restore import plan_restore

_REF_PATTERN = f"{NAME_PATTERN.removesuffix('$')}(@[0-9]{{1,15}})?$"
Number = Annotated[int, Path(ge=1, le=NUMBER, description="A version.")]
Ref = Annotated[
    str,
    Query(
        description="`NAME` (its latest version) or `NAME@NUMBER`.",
        json_schema_extra={"pattern": _REF_PATTERN, "maxLength": MAX_NAME},
    ),
]
Dry = Annotated[bool, Query(description="Return what would be done, and change nothing.")]


class ChangeOut(BaseModel):
    """One change of a version; `tag` is empty unless `kind` is tag."""

    action: str
    kind: str
    tag: str
    digest: str
    size: int


class VersionShown(VersionOut):
    """One version, the one before it, its pin if it has one, and the first `n` of its changes, removals first."""

    repository: str
    base: int
    operation_id: str
    pinned: bool
    note: str = ""
    changes: list[ChangeOut]


class PinIn(BaseModel):
    """The reason to keep a version."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field("", max_length=1000)


class PinOut(BaseModel):
    """A pinned version: it cannot be deleted."""

    repository: str
    version: int
    note: str
    actor: str
    created_at: datetime


class DeletedOut(BaseModel):
    """The versions deleted, or to be deleted; with `dry_run`, what garbage collection could then free."""

    repository: str
    deleted: list[int]
    merged: dict[str, int]
    dry_run: bool
    free_blobs: int | None
    free_bytes: int | None


class RestoreIn(BaseModel):
    """The version to restore; 0 is the empty one."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=0, le=NUMBER)
    dry_run: bool = False


class RestoredOut(BaseModel):
    """The version that holds the content now, and how many tags changed; `changed` is false if it was the latest already."""

    repository: str
    base_version: int
    version: int
    changed: bool
    dry_run: bool
    tags_added: int
    tags_moved: int
    tags_removed: int


router = APIRouter(prefix="/api/v1", tags=["versions"], route_class=ManagementRoute, responses=FAILURES)


@router.get("/version/{number}/{name:path}", response_model=VersionShown)
async def show_version(
    context: Context,
    number: Number,
    name: NamePath,
    n: Annotated[int, Query(ge=0, le=100_000, description="How many changes at most.")] = 1000,
) -> VersionShown:
    """Show one version and its changes."""
    context.check("pull", parse_name(name))
    row = await context.threads.run(context.catalog.history.version, name, number)
    changes = await context.threads.run(context.catalog.history.changes, name, number)
    pins = await context.threads.run(context.catalog.pins.of, name)
    pin = next((pin for pin in pins if pin.version == number), None)
    return VersionShown(
        **VersionOut.model_validate(row, from_attributes=True).model_dump(),
        repository=name,
        base=row.base,
        operation_id=row.operation_id,
        pinned=pin is not None,
        note=pin.note if pin else "",
        changes=[ChangeOut.model_validate(change, from_attributes=True) for change in changes[:n]],
    )


@router.get("/diff", response_model=dict[str, Any])
async def diff(context: Context, old: Ref, new: Ref, *, packages: bool = False) -> dict[str, object]:
    """Compare two versions, of one repository or of two; with `packages`, compare their SBOMs too."""
    ends = [parse_version_reference(old), parse_version_reference(new)]
    for end in ends:
        context.check("pull", end.repository)
    return (await context.threads.run(diff_versions, context.catalog, *ends, packages=packages)).to_json()


@router.get("/pins/{name:path}", response_model=list[PinOut])
async def list_pins(context: Context, name: NamePath) -> list[PinOut]:
    """List a repository's pinned versions."""
    context.check("pull", parse_name(name))
    await context.threads.run(context.catalog.history.repository, name)
    pins = await context.threads.run(context.catalog.pins.of, name)
    return [PinOut.model_validate(pin, from_attributes=True) for pin in pins]


@router.post("/restore/{name:path}", response_model=RestoredOut)
async def restore(context: Context, name: NamePath, body: RestoreIn) -> RestoredOut:
    """Make a new version with the content of an old one; a path's immutable tags stay. 409: another commit came first, try
    again."""
    for action in ("push", "delete"):
        context.check(action, parse_name(name))
    return await context.threads.commit(_restore, context, name, body.version, dry_run=body.dry_run)


@router.put("/pins/{number}/{name:path}", response_model=PinOut)
async def pin_version(context: Context, number: Number, name: NamePath, body: PinIn) -> PinOut:
    """Keep a version from being deleted."""
    context.check("admin", parse_name(name))
    pin = Pin(name, number, body.note, context.account, context.registry.now())
    await context.threads.commit(context.catalog.pins.add, pin, address=context.address)
    return PinOut.model_validate(pin, from_attributes=True)


@router.delete("/pins/{number}/{name:path}", status_code=204)
async def unpin_version(context: Context, number: Number, name: NamePath) -> None:
    """Unpin a version; it stays until it is deleted."""
    context.check("admin", parse_name(name))
    await context.threads.commit(
        context.catalog.pins.remove,
        name,
        number,
        actor=context.account,
        now=context.registry.now(),
        address=context.address,
    )


@router.delete("/versions/{name:path}", response_model=DeletedOut)
async def delete_versions(
    context: Context,
    name: NamePath,
    version: Annotated[
        list[Annotated[str, Field(pattern=NUMBERS_PATTERN)]],
        Query(min_length=1, max_length=1000, description="A number, or a range such as 5-9; may be repeated."),
    ],
    *,
    dry_run: Dry = False,
) -> DeletedOut:
    """Delete versions, all or none; the others stay as they are. 409 for the latest version, and for served or pinned ones."""
    context.check("admin", parse_name(name))
    numbers = parse_numbers(version)
    report = await context.threads.commit(
        context.catalog.deletion.delete_versions,
        name,
        numbers,
        actor=context.account,
        now=context.registry.now(),
        address=context.address,
        dry_run=dry_run,
    )
    return DeletedOut.model_validate(report.to_json())


@router.delete("/repositories/{name:path}", response_model=DeletedOut)
async def delete_repository(context: Context, name: NamePath, *, dry_run: Dry = False) -> DeletedOut:
    """Delete a repository with all its versions and its own path. 409 when another path serves it, or a version is pinned."""
    context.check("admin", parse_name(name))
    report = await context.threads.commit(
        context.catalog.deletion.delete_repository,
        name,
        actor=context.account,
        now=context.registry.now(),
        address=context.address,
        dry_run=dry_run,
    )
    return DeletedOut.model_validate(report.to_json())


def _restore(context: RequestContext, name: str, version: int, *, dry_run: bool) -> RestoredOut:
    base, commit = plan_restore(context, name, version)
    commits = context.catalog.commits
    result = commits.preview(commit) if dry_run else commits.commit(commit)
    return _restored(base, result, dry_run=dry_run)


def _restored(base: Snapshot, result: CommitResult, *, dry_run: bool) -> RestoredOut:
    delta = delta_between(base, result.snapshot)
    moved = len(delta.tags_added.keys() & delta.tags_removed.keys())
    return RestoredOut(
        repository=base.repository,
        base_version=base.version,
        version=base.version if dry_run else result.version,
        changed=result.changed and not dry_run,
        dry_run=dry_run,
        tags_added=len(delta.tags_added) - moved,
        tags_moved=moved,
        tags_removed=len(delta.tags_removed) - moved,
    )
