"""The page of one image or artifact: what it is made of and who shares it, its config, what is attached, where it is served."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from catalog.content.inspection import Attached, Inspection, inspect_content, list_attached
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.kinds import ATOMIC_SIGNATURE, COSIGN_SIGNATURE
from oci.reference import ContentReference, parse_content_reference
from registry_api.pages.framework.pull_commands import PullOut, find_address, pull_commands
from registry_api.pages.framework.visible_paths import VisiblePath
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_MOST_PARTS = 500
_MOST_ATTACHED = 100
_DEEPEST = 4
_LONGEST = 2000
_NAMES = 3


class PartOut(BaseModel):
    """A layer, or a manifest of an index, with the command that made it or its platform."""

    digest: str
    media_type: str
    size_bytes: int
    platform: str
    command: str
    is_here: bool
    shared: "SharedOut | None" = None


class SharedOut(BaseModel):
    """How many other repositories, of those that the caller may see, have the same layer; `names` are the first of them.

    `is_cut`: so many repositories have it that not all were looked at.
    """

    repositories: int
    names: list[str]
    is_cut: bool


class AttachedOut(BaseModel):
    """A manifest that refers to another, and what refers to it in turn. Nothing is verified here."""

    digest: str
    kind: str
    artifact_type: str
    size_bytes: int
    is_signature: bool
    attached: list["AttachedOut"]


class SettingOut(BaseModel):
    """A field of the config, or a label or annotation, as text."""

    name: str
    value: str


class ImagePage(BaseModel):
    """One manifest with all that is known of it; lists are cut where they are very long, `total_parts` counts all."""

    name: str
    reference: str
    version: int | None
    digest: str
    kind: str
    media_type: str
    artifact_type: str
    manifest_bytes: int
    total_bytes: int
    platform: str
    tags: list[str]
    subject: str
    is_index: bool
    parts: list[PartOut]
    total_parts: int
    config: list[SettingOut]
    labels: list[SettingOut]
    annotations: list[SettingOut]
    attached: list[AttachedOut]
    signatures: int
    served_at: list[str]
    since: datetime | None
    pull: list[PullOut]


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/image/{reference:path}")
@router.get("/image.json/{reference:path}")
async def show_image(visit: CurrentVisit, reference: str) -> Response:
    """Show one image or artifact, by `NAME:TAG` or `NAME@DIGEST`."""
    wanted = parse_content_reference(reference)
    return await visit.respond("image.html", lambda visit: read_image(visit, wanted))


def read_image(visit: Visit, wanted: ContentReference) -> ImagePage:
    """Return the view model; one query, for when it came; after a commit another, for who has the same layers.

    Raise NameUnknown or ManifestUnknown.
    """
    path = visit.paths.find(wanted.repository)
    snapshot = visit.snapshot_of(path)
    inner = ContentReference(path.repository, wanted.tag, wanted.digest)
    try:
        found = inspect_content(visit.catalog, inner, snapshot.version, most_attached=_MOST_ATTACHED)
    except ManifestUnknown:  # its message names the repository, which the caller may not know
        raise ManifestUnknown(f"{wanted} is not here") from None
    left = _MOST_ATTACHED
    attached, left = _tree(visit, snapshot, found.attached, left, 1)
    seen = visit.catalog.history.first_seen(path.repository, [found.digest]) if path.has_history else {}
    config = dict(found.config)
    labels = config.pop("labels", None)
    is_index = any(part.platform for part in found.parts) or found.kind == "index"
    shown = found.parts[:_MOST_PARTS]
    shared = {} if is_index else _share(visit, path, [part.digest for part in shown])
    return ImagePage(
        name=wanted.repository,
        reference=str(wanted),
        version=snapshot.version if path.has_history else None,
        digest=found.digest,
        kind=found.kind,
        media_type=found.media_type,
        artifact_type=found.artifact_type,
        manifest_bytes=found.size,
        total_bytes=found.total_size,
        platform=found.platform,
        tags=list(found.tags[:_MOST_PARTS]),
        subject=found.subject or "",
        is_index=is_index,
        parts=[
            PartOut(
                digest=part.digest,
                media_type=part.media_type,
                size_bytes=part.size,
                platform=part.platform,
                command=part.command[:_LONGEST],
                is_here=part.is_here,
                shared=shared.get(part.digest),
            )
            for part in shown
        ],
        total_parts=len(found.parts),
        config=[SettingOut(name=name, value=setting_text(value)) for name, value in config.items()],
        labels=_texts(labels if isinstance(labels, dict) else {}),
        annotations=_texts(found.annotations),
        attached=attached,
        signatures=_count_signatures(attached),
        served_at=_served_at(visit, snapshot, path),
        since=seen.get(found.digest),
        pull=_pull_out(visit, path, found, wanted) if path.is_served else [],
    )


def _share(visit: Visit, path: VisiblePath, digests: list[Digest]) -> dict[Digest, SharedOut]:
    """Return who else has layers, by the paths that the caller knows them by; empty while that is not known."""
    found = visit.catalog.search.share(digests, visit.paths.scopes, apart_from=path.repository, shown=_NAMES)
    return {
        digest: SharedOut(
            repositories=one.count,
            names=[visit.paths.by_repository[name][0].name for name in one.names],
            is_cut=one.is_cut,
        )
        for digest, one in (found or {}).items()
    }


def _tree(
    visit: Visit, snapshot: Snapshot, found: Iterable[Attached], left: int, depth: int
) -> tuple[list[AttachedOut], int]:
    """Return what refers to a manifest as a tree, of `left` manifests at most, and how many may still come."""
    made = []
    for one in islice(found, left):
        left -= 1
        below: list[AttachedOut] = []
        if depth < _DEEPEST and left > 0:
            below, left = _tree(visit, snapshot, list_attached(visit.catalog, snapshot, one.digest), left, depth + 1)
        made.append(
            AttachedOut(
                digest=one.digest,
                kind=one.kind,
                artifact_type=one.artifact_type,
                size_bytes=one.size,
                is_signature=one.kind == COSIGN_SIGNATURE or one.artifact_type == ATOMIC_SIGNATURE,
                attached=below,
            )
        )
        if left <= 0:
            break
    return made, left


def _count_signatures(attached: Iterable[AttachedOut]) -> int:
    return sum(one.is_signature for one in attached)


def _served_at(visit: Visit, snapshot: Snapshot, path: VisiblePath) -> list[str]:
    """Return the paths, of those that the caller sees, that serve this version."""
    shown = visit.paths.by_repository.get(path.repository, [])
    numbers = ((one, visit.catalog.distributions.find(one.name)) for one in shown if one.is_served)
    return [
        one.name
        for one, served in numbers
        if served is not None and visit.catalog.snapshots.number_at(served) == snapshot.version
    ][:_MOST_PARTS]


def _pull_out(visit: Visit, path: VisiblePath, found: Inspection, wanted: ContentReference) -> list[PullOut]:
    address = find_address(visit.registry.hosts, visit.catalog.settings, visit.request.scope)
    lines = pull_commands(found.kind, address, path.name, wanted.tag, Digest(found.digest))
    return [PullOut(client=client, command=command) for client, command in lines]


def _texts(values: Mapping[str, object]) -> list[SettingOut]:
    some = sorted(values.items())[:_MOST_PARTS]
    return [SettingOut(name=str(name)[:300], value=setting_text(value)) for name, value in some]


def setting_text(value: Any) -> str:
    """Return a field of a config as people write it: commands and lists in one line each, keys of maps alone. Pure."""
    if isinstance(value, list | tuple | dict):
        return "\n".join(map(str, value))[:_LONGEST]
    return str(value)[:_LONGEST]
