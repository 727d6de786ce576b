"""The page of an image's packages: what bills of materials list that are attached to it, filtered, some at a time."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from catalog.content.documents import ImageDocuments
from registry_api.pages.framework.visits import CurrentVisit, PageRoute
from registry_api.pages.images.documents import LookedAt, find_documents, find_image

_PAGE = 100
_VERSIONS = 20
_LONGEST = 300


class PackageOut(BaseModel):
    """A package: `ecosystem` is the type of its package URL, such as deb or npm, empty for a name alone."""

    name: str
    ecosystem: str
    versions: list[str]
    total_versions: int


class PackagesPage(BaseModel):
    """Packages whose name or version holds `text`, some at a time, of all that documents list.

    `documents` were read. `is_cut`: there are more, or larger ones, than a page reads.
    """

    name: str
    reference: str
    digest: str
    documents: int
    is_cut: bool
    text: str
    number: int
    pages: int
    total: int
    packages: list[PackageOut]


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/packages/{reference:path}")
@router.get("/packages.json/{reference:path}")
async def show_packages(
    visit: CurrentVisit,
    reference: str,
    q: Annotated[str, Query(max_length=300)] = "",
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
) -> Response:
    """Show the packages of one image."""
    found = await find_image(visit, reference)
    documents = await find_documents(visit, found)
    text = q.strip()
    return await visit.respond("packages.html", lambda _: read_packages(found, documents, text, page), block="results")


def read_packages(found: LookedAt, documents: ImageDocuments, text: str, number: int) -> PackagesPage:
    """Return the view model. Pure."""
    packages = documents.packages or {}
    names = [name for name in packages if _holds(name, packages[name], text.lower())]
    return PackagesPage(
        name=found.reference.repository,
        reference=str(found.reference),
        digest=found.digest,
        documents=documents.documents,
        is_cut=documents.is_cut,
        text=text,
        number=number,
        pages=max(1, -(-len(names) // _PAGE)),
        total=len(names),
        packages=[_package_out(name, packages[name]) for name in names[(number - 1) * _PAGE : number * _PAGE]],
    )


def _holds(name: str, versions: Iterable[str], text: str) -> bool:
    return text in name.lower() or any(text in version.lower() for version in versions)


def _package_out(name: str, versions: frozenset[str]) -> PackageOut:
    kind, slash, rest = name.removeprefix("pkg:").partition("/")
    is_url = name.startswith("pkg:") and bool(slash)
    return PackageOut(
        name=(rest if is_url else name)[:_LONGEST],
        ecosystem=kind[:40] if is_url else "",
        versions=[version[:_LONGEST] for version in sorted(versions) if version][:_VERSIONS],
        total_versions=len(versions),
    )
