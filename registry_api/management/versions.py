"""Versions over HTTP: shown, compared, restored, pinned and deleted. Reading takes `pull` on the repository, restoring `push` and
`delete`, what concerns its history `admin`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from catalog.content.diff import VersionRef, diff_versions
from catalog.content.restore import plan_towards
from catalog.versions.changes import Commit, CommitResult, LatestIs, TagsStay
from catalog.versions.deletion import SquashReport
from catalog.versions.pins import Pin
from catalog.versions.snapshot import Snapshot, delta_between
from catalog.versions.timeline import NUMBERS_PATTERN, parse_numbers
from oci.errors import NameUnknown
from oci.reference import MAX_NAME, NAME_PATTERN, parse_name
from registry_api.context import Registry
from registry_api.management.content import NUMBER, NamePath, VersionOut
from registry_api.management.dependencies import FAILURES, Asker, ToldErrors, asker_of

_REF_PATTERN = f"{NAME_PATTERN.removesuffix('$')}(@[0-9]{{1,15}})?$"
Number = Annotated[int, Path(ge=1, le=NUMBER, description="A version.")]
Ref = Annotated[
    str,
    Query(
        description="`NAME` (its latest version) or `NAME@NUMBER`.",
        json_schema_extra={"pattern": _REF_PATTERN, "maxLength": MAX_NAME},
    ),
]
Dry = Annotated[bool, Query(description="Say what would be done, and do nothing.")]


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
    """What a version is kept for."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field("", max_length=1000)


class PinOut(BaseModel):
    """A version that nobody may delete."""

    repository: str
    version: int
    note: str
    actor: str
    created_at: datetime


class DeletedOut(BaseModel):
    """Which versions were, or would be, deleted; with `dry_run`, what garbage collection could free by it."""

    repository: str
    deleted: list[int]
    merged: dict[str, int]
    dry_run: bool
    free_blobs: int | None
    free_bytes: int | None


class RestoreIn(BaseModel):
    """Which version's content is wanted; 0 is the empty one."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=0, le=NUMBER)
    dry_run: bool = False


class RestoredOut(BaseModel):
    """The version that holds the content now, and how many tags changed for it; `changed` is false when it was so already."""

    repository: str
    base_version: int
    version: int
    changed: bool
    dry_run: bool
    tags_added: int
    tags_moved: int
    tags_removed: int


def version_routes(registry: Registry) -> APIRouter:
    """What there is to do with versions."""
    router = APIRouter(prefix="/api/v1", tags=["versions"], route_class=ToldErrors, responses=FAILURES)
    _add_reading(router, registry)
    _add_changing(router, registry)
    return router


def _add_reading(router: APIRouter, registry: Registry) -> None:
    asking = Depends(asker_of(registry))
    catalog, run = registry.catalog, registry.threads.run

    @router.get("/version/{number}/{name:path}", response_model=VersionShown)
    async def show_version(
        number: Number,
        name: NamePath,
        n: Annotated[int, Query(ge=0, le=100_000, description="How many changes at most.")] = 1000,
        asker: Asker = asking,
    ) -> VersionShown:
        """One version and what it changed."""
        asker.check("pull", parse_name(name))
        row = await run(catalog.history.version, name, number)
        changes = await run(catalog.history.changes, name, number)
        pin = next((pin for pin in await run(catalog.pins.of, name) if pin.version == number), None)
        told = VersionOut.model_validate(row, from_attributes=True).model_dump()
        return VersionShown(
            **told,
            repository=name,
            base=row.base,
            operation_id=row.operation_id,
            pinned=pin is not None,
            note=pin.note if pin else "",
            changes=[ChangeOut.model_validate(one, from_attributes=True) for one in changes[:n]],
        )

    @router.get("/diff", response_model=dict[str, Any])
    async def diff(old: Ref, new: Ref, *, packages: bool = False, asker: Asker = asking) -> dict[str, object]:
        """What leads from one version to another, of one repository or of two; with `packages` by their SBOMs too."""
        ends = [VersionRef.parse(old), VersionRef.parse(new)]
        for end in ends:
            asker.check("pull", end.repository)
        return (await run(diff_versions, catalog, *ends, packages=packages)).to_json()

    @router.get("/pins/{name:path}", response_model=list[PinOut])
    async def list_pins(name: NamePath, asker: Asker = asking) -> list[PinOut]:
        """A repository's pinned versions."""
        asker.check("pull", parse_name(name))
        await run(catalog.history.repository, name)
        return [PinOut.model_validate(pin, from_attributes=True) for pin in await run(catalog.pins.of, name)]


def _add_changing(router: APIRouter, registry: Registry) -> None:
    asking = Depends(asker_of(registry))
    catalog, commit = registry.catalog, registry.threads.commit

    @router.post("/restore/{name:path}", response_model=RestoredOut)
    async def restore(name: NamePath, wanted: RestoreIn, asker: Asker = asking) -> RestoredOut:
        """Make a new version with the content of an old one; tags that a path keeps from being moved stay. 409: somebody was
        quicker, try again."""
        for action in ("push", "delete"):
            asker.check(action, parse_name(name))
        return await commit(_restore, registry, asker, name, wanted)

    @router.put("/pins/{number}/{name:path}", response_model=PinOut)
    async def pin_version(number: Number, name: NamePath, wanted: PinIn, asker: Asker = asking) -> PinOut:
        """Keep a version from being deleted."""
        asker.check("admin", parse_name(name))
        made = Pin(name, number, wanted.note, asker.caller.account, registry.now())
        await commit(catalog.pins.add, made, address=asker.address)
        return PinOut.model_validate(made, from_attributes=True)

    @router.delete("/pins/{number}/{name:path}", status_code=204)
    async def unpin_version(number: Number, name: NamePath, asker: Asker = asking) -> None:
        """Let a pinned version go; it stays until it is deleted."""
        asker.check("admin", parse_name(name))
        account, now = asker.caller.account, registry.now()
        await commit(catalog.pins.remove, name, number, actor=account, now=now, address=asker.address)

    @router.delete("/versions/{name:path}", response_model=DeletedOut)
    async def delete_versions(
        name: NamePath,
        version: Annotated[
            list[Annotated[str, Field(pattern=NUMBERS_PATTERN)]],
            Query(min_length=1, max_length=1000, description="A number, or a range such as 5-9; may be repeated."),
        ],
        *,
        dry_run: Dry = False,
        asker: Asker = asking,
    ) -> DeletedOut:
        """Delete versions, all or none; the others stay what they are. 409 for the latest, and for what is served or pinned."""
        asker.check("admin", parse_name(name))
        wanted: Sequence[range] = parse_numbers(version)
        account, now = asker.caller.account, registry.now()
        report = await commit(
            catalog.deletion.delete_versions,
            name,
            wanted,
            actor=account,
            now=now,
            address=asker.address,
            dry_run=dry_run,
        )
        return _deleted(report)

    @router.delete("/repositories/{name:path}", response_model=DeletedOut)
    async def delete_repository(name: NamePath, *, dry_run: Dry = False, asker: Asker = asking) -> DeletedOut:
        """Delete a repository with all its versions and its own path. 409 when another path serves it, or a version is pinned."""
        asker.check("admin", parse_name(name))
        account, now = asker.caller.account, registry.now()
        report = await commit(
            catalog.deletion.delete_repository, name, actor=account, now=now, address=asker.address, dry_run=dry_run
        )
        return _deleted(report)


def _deleted(report: SquashReport) -> DeletedOut:
    return DeletedOut.model_validate(report.to_json())


def _restore(registry: Registry, asker: Asker, name: str, wanted: RestoreIn) -> RestoredOut:
    catalog = registry.catalog
    content = catalog.snapshots.get(name, wanted.version)
    base = catalog.snapshots.find(name)
    if base is None:
        raise NameUnknown(f"no repository {name!r} here")
    made = Commit(
        repository=name,
        operation="restore",
        changes=plan_towards(base, content),
        requirements=(LatestIs(base.version), TagsStay(catalog.distributions.immutable_tags(name))),
        operation_id=registry.make_id(),
        actor=asker.caller.account,
        message=f"restored version {wanted.version}",
        created_at=registry.now(),
        allow_sparse=True,
        donors=(name,),
    )
    result = catalog.commits.preview(made) if wanted.dry_run else catalog.commits.commit(made)
    return _restored(base, result, dry_run=wanted.dry_run)


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
