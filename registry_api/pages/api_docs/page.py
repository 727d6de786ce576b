"""The page of the HTTP API: every operation, every schema, and the codes of errors."""

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from oci.errors import EntrepotError
from registry_api.http.errors import row_of
from registry_api.management.description import describe_api
from registry_api.pages.api_docs.operations import GroupOut, read_groups
from registry_api.pages.api_docs.schemas import SchemaOut, read_schema
from registry_api.pages.framework.pull_commands import find_address
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_LEFT_OUT = {"HTTPValidationError", "ValidationError"}


class StatusOut(BaseModel):
    """A status of failed requests, and the codes that come with it."""

    status: int
    codes: list[str]


class ApiPage(BaseModel):
    """The HTTP API: its operations by tag, its schemas, and the codes of its errors."""

    version: str
    base: str
    groups: list[GroupOut]
    schemas: list[SchemaOut]
    statuses: list[StatusOut]


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/api/docs")
async def show_api(request: Request, visit: CurrentVisit) -> Response:
    """Show what the HTTP API offers."""
    return await visit.respond("api.html", lambda visit: read_api(visit, request))


def read_api(visit: Visit, request: Request) -> ApiPage:
    """Return the view model; no query."""
    document = describe_api(request.app)
    statuses = list(list_statuses())
    address = find_address(visit.registry.hosts, visit.catalog.settings, request.scope)
    base = f"{'http' if address.is_plain else 'https'}://{address.host}"
    schemas = document.get("components", {}).get("schemas", {})
    return ApiPage(
        version=str(document["info"]["version"]),
        base=base,
        groups=read_groups(document, base, {str(one.status) for one in statuses}),
        schemas=[read_schema(name, one) for name, one in sorted(schemas.items()) if name not in _LEFT_OUT],
        statuses=statuses,
    )


def list_statuses() -> Iterator[StatusOut]:
    """Give the statuses of errors with their codes. Pure."""
    found: dict[int, set[str]] = {}
    kinds = [EntrepotError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        row = row_of(kind)
        found.setdefault(row.status, set()).add(row.code)
    for status in sorted(found):
        yield StatusOut(status=status, codes=sorted(found[status]))
