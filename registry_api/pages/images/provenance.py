"""The page of an image's provenance: who claims to have built it from what, how it came here, where it is served since when."""

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel

from catalog.browse.lineage import LineageStep
from catalog.content.documents import ImageDocuments
from catalog.documents.statements import ProvenanceStatement
from catalog.versions.version_origins import VersionOrigin
from registry_api.pages.framework.visible_paths import VisiblePath
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit
from registry_api.pages.images.documents import LookedAt, find_documents, find_image

_MOST_PLACES = 100


class MaterialOut(BaseModel):
    """Something that is claimed to have gone into a build."""

    uri: str
    digest: str


class StatementOut(BaseModel):
    """What a statement of provenance claims. Nothing of it is verified here; `signatures` only counts those attached to it.

    `is_about_image`: it names this image as its subject.
    """

    predicate_type: str
    is_about_image: bool
    signatures: int
    builder: str
    build_type: str
    source: str
    source_digest: str
    entry_point: str
    invocation: str
    started: str
    finished: str
    materials: list[MaterialOut]
    total_materials: int


class StepOut(BaseModel):
    """How the image came to a place that the caller sees, or with `left` went out to `target`, which administrators are told.

    Who may not know a place's history gets its name alone; origins that the caller may not pull are not named.
    """

    name: str
    version: int | None = None
    operation: str = ""
    actor: str = ""
    at: datetime | None = None
    origins: list[str] = []
    left: bool = False
    target: str = ""


class ServedOut(BaseModel):
    """A path that serves the image now, and since when at least; None for who may not know."""

    name: str
    since: datetime | None


class ProvenancePage(BaseModel):
    """Claims about the build, and how the image came here. `is_whole`: all repositories that the caller sees were looked at."""

    name: str
    reference: str
    digest: str
    statements: list[StatementOut]
    is_cut: bool
    steps: list[StepOut]
    is_whole: bool
    served: list[ServedOut]


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/provenance/{reference:path}")
@router.get("/provenance.json/{reference:path}")
async def show_provenance(visit: CurrentVisit, reference: str) -> Response:
    """Show where one image came from."""
    found = await find_image(visit, reference)
    documents = await find_documents(visit, found)
    return await visit.respond("provenance.html", lambda visit: read_provenance(visit, found, documents))


def read_provenance(visit: Visit, found: LookedAt, documents: ImageDocuments) -> ProvenancePage:
    """Return the view model; one query for how it came, and after a commit one for who has it."""
    holders = visit.catalog.search.holders(found.digest, visit.paths.scopes, limit=_MOST_PLACES)
    places = {*(holders or ()), found.path.repository}
    known = [name for name in sorted(places) if _first(visit, name).has_history]
    steps = visit.catalog.browse.lineage(found.digest, known) if known else []
    return ProvenancePage(
        name=found.reference.repository,
        reference=str(found.reference),
        digest=found.digest,
        statements=[_statement_out(one) for one in documents.statements],
        is_cut=documents.is_cut,
        steps=[
            *(StepOut(name=_first(visit, name).name) for name in sorted(places) if name not in known),
            *(_step_out(visit, step, _first(visit, step.repository)) for step in steps),
        ],
        is_whole=holders is not None and len(holders) < _MOST_PLACES,
        served=list_served(visit, found, {step.repository: step.at for step in reversed(steps) if not step.left}),
    )


def _first(visit: Visit, repository: str) -> VisiblePath:
    return visit.paths.by_repository[repository][0]


def _statement_out(found: ProvenanceStatement) -> StatementOut:
    return StatementOut(
        predicate_type=found.predicate_type,
        is_about_image=found.is_about,
        signatures=found.signatures,
        builder=found.builder,
        build_type=found.build_type,
        source=found.source,
        source_digest=found.source_digest,
        entry_point=found.entry_point,
        invocation=found.invocation,
        started=found.started,
        finished=found.finished,
        materials=[MaterialOut(uri=one.uri, digest=one.digest) for one in found.materials],
        total_materials=found.total_materials,
    )


def _step_out(visit: Visit, step: LineageStep, path: VisiblePath) -> StepOut:
    return StepOut(
        name=path.name,
        version=step.number,
        operation=step.operation,
        actor=step.actor,
        at=step.at,
        origins=list(dict.fromkeys(_show_origin(visit, origin) for origin in step.origins)),
        left=step.left,
        target=step.target if visit.is_administrator else "",
    )


def _show_origin(visit: Visit, origin: VersionOrigin) -> str:
    """Return an origin as text, without what the caller may not know: others' repositories, and folders of the server."""
    if origin.kind == "repository" and not visit.may("pull", origin.name):
        return "another repository"
    if origin.kind == "folder" and not visit.is_administrator:
        return "a folder"
    return str(origin)


def list_served(visit: Visit, found: LookedAt, brought: dict[str, datetime]) -> list[ServedOut]:
    """Return the paths that serve the version that is looked at, of those that the caller sees.

    A path serves it since the version came, or since the path was made or, with a fixed version, last changed.
    """
    served = []
    for path in visit.paths.by_repository.get(found.path.repository, ()):
        record = visit.catalog.distributions.find(path.name) if path.is_served else None
        if record is None or visit.catalog.snapshots.number_at(record) != found.snapshot.version:
            continue
        began = record.created_at if record.version is None else record.updated_at
        came = brought.get(found.path.repository)
        since = max(began, came) if came is not None and path.has_history else None
        served.append(ServedOut(name=path.name, since=since))
    return served[:_MOST_PLACES]
