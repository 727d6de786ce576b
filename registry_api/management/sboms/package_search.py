"""The search for a package in all images that the caller may pull, by the question that `entrepot sbom search` asks.

1. The paths are those that the caller may pull from; nothing else is looked at. 2. A process of its own looks there, in a slot of
the SQL queries. 3. Rows of what gates refuse are left out; `last` is a row that is shown, so that it tells of none of them.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from catalog.distributions.records import Distribution
from catalog.query.named.served_packages import PackageRow, ask_packages_of
from catalog.query.run import Answer, limits_of
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from registry_api.gates.policy_gate import PATIENCE, GatedContent
from registry_api.management.dependencies import FAILURES, Context, Count, RequestContext, UnqueuedRoute
from registry_api.management.queries import run_question

MOST_EXAMINED = 10_000
"""Rows that are looked at for one page, with those that gates refuse."""

_LONGEST_LAST = 8000


class FoundPackageOut(BaseModel):
    """A package of an image at a path, with the tags there that lead to the image, through an index too."""

    path: str
    tags: list[str]
    image: str
    purl: str
    version: str
    sbom: str


class FoundPackagesOut(BaseModel):
    """A page; `last` leads to the next one, and is empty on the last. `is_cut`: more cannot be looked at; narrow the search."""

    packages: list[FoundPackageOut]
    last: str
    is_cut: bool


router = APIRouter(prefix="/api/v1", tags=["sboms"], route_class=UnqueuedRoute, responses=FAILURES)


@router.get("/sboms/search", response_model=FoundPackagesOut)
async def search_packages(
    request: Request,
    context: Context,
    package: Annotated[str, Query(min_length=1, max_length=1000, description="A name, or a package URL.")],
    version: Annotated[
        str, Query(max_length=1000, description="A range: `<1.2`, `>=1.0,<1.2`, `vers:deb/<1.2`. Default: any.")
    ] = "",
    n: Count = 100,
    last: Annotated[str, Query(max_length=_LONGEST_LAST, description="`last` of the page before.")] = "",
) -> FoundPackagesOut:
    """Find the images that hold a package, among those that the caller may pull, by path."""
    after = PackageRow.load(last)
    async with context.registry.searches.turn(context.cost_key):
        paths = await context.threads.run(_find_paths, context)
        if not paths:
            return FoundPackagesOut(packages=[], last="", is_cut=False)
        limits = limits_of(context.catalog.settings).lowered(rows=MOST_EXAMINED + 1)
        examined = min(MOST_EXAMINED if _has_gates(context) else n, max(limits.rows - 1, 1))
        question = ask_packages_of(paths, package, version, after=after, limit=examined + 1)
        answer = await run_question(request, context, question, limits, "json")
        rows = await context.threads.run(_read_rows, answer)
        shown, is_over = await _select_rows(context, rows[:examined], n + 1)
    page, is_cut = shown[:n], is_over or len(rows) > examined
    is_more = len(shown) > n or (is_cut and bool(page))
    return FoundPackagesOut(packages=page, last=_key(page[-1]).dump() if is_more else "", is_cut=is_cut and not is_more)


def _find_paths(context: RequestContext) -> list[Distribution]:
    """Return the paths that the caller may pull from; on a thread."""
    access = context.registry.access
    return [one for one in context.catalog.distributions.all() if access.may_pull(context.caller, one)]


def _has_gates(context: RequestContext) -> bool:
    return context.registry.gates.active or context.registry.policy_gate.active


def _read_rows(answer: Answer) -> list[FoundPackageOut]:
    with answer.file as file:
        rows: Sequence[Mapping[str, Any]] = json.load(file)
    return [
        FoundPackageOut.model_validate({**row, "tags": [tag for tag in row["tags"].split(", ") if tag]}) for row in rows
    ]


def _key(row: FoundPackageOut) -> PackageRow:
    return PackageRow(row.path, row.image, row.purl, row.version, row.sbom)


async def _select_rows(
    context: RequestContext, rows: Sequence[FoundPackageOut], most: int
) -> tuple[list[FoundPackageOut], bool]:
    """Return the first rows of what gates let the caller pull now, with the tags that lead there now.

    The second value says that the time was over before all rows were looked at.
    """
    if not _has_gates(context):
        return list(rows[:most]), False
    shown, known = list[FoundPackageOut](), dict[str, _Served | None]()
    until = asyncio.get_running_loop().time() + PATIENCE
    for row in rows:
        if asyncio.get_running_loop().time() >= until:
            return shown, True
        if row.path not in known:
            known[row.path] = await _find_served(context, row.path)
        served = known[row.path]
        if served is not None and await _is_shown(context, served, row, until):
            tags = [tag for tag in row.tags if served.has_same(tag)]
            shown.append(row.model_copy(update={"tags": tags}))
            if len(shown) >= most:
                break
    return shown, False


@dataclass(frozen=True, slots=True)
class _Served:
    """What a path serves: the whole version, and through its gates."""

    base: Snapshot
    content: GatedContent

    def has_same(self, tag: str) -> bool:
        """Return whether a tag leads to the same manifest through the gates."""
        return self.base is self.content.snapshot or self.base.tags.get(tag) == self.content.snapshot.tags.get(tag)


async def _find_served(context: RequestContext, path: str) -> _Served | None:
    registry = context.registry
    base = await registry.find_served(path)
    if base is None:
        return None
    view = await registry.find_view(path, base) if registry.gates.active else None
    return _Served(base, registry.gated(path, base if view is None else view.snapshot, view))


async def _is_shown(context: RequestContext, served: _Served, row: FoundPackageOut, until: float) -> bool:
    """Return whether gates let an SBOM pass, and the image that it is about."""
    gate, passing = context.registry.policy_gate, served.content.snapshot.manifests
    image, sbom = Digest(row.image), Digest(row.sbom)
    if sbom not in passing or (image not in passing and image in served.base.manifests):
        return False
    if not gate.active:
        return True
    for digest in (sbom, image):
        left = max(until - asyncio.get_running_loop().time(), 0.0)
        if digest in passing and await gate.refuses(served.content, digest, patience=left):
            return False
    return True
