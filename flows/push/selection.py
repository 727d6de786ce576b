"""The stage Selected: which paths go where, and which of their tags."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.content.selection import select_content
from catalog.distributions.records import has_labels
from catalog.path_patterns import select_paths
from catalog.versions.snapshot import Snapshot
from flows.push.context import Opened, PushContext, Route
from flows.push.plan import Roots, select_one, select_tags
from oci.digest import Digest
from oci.errors import InvalidInput, ManifestUnknown, NameUnknown


@dataclass(frozen=True, slots=True)
class SelectedRoutes:
    """The routes of a push, and the paths that are left out."""

    routes: tuple[Route, ...]
    not_selected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SelectedPath:
    """One path: what is to be pushed of it, by tag (or digest); `dropped` has the reason for each tag that is not."""

    route: Route
    opened: Opened
    roots: Mapping[str, Digest]
    dropped: Mapping[str, str]


def select_routes(context: PushContext) -> SelectedRoutes:
    """Select what is pushed where; raise NameUnknown for a source that is not here, InvalidInput where no path is selected."""
    selected = SelectedRoutes((_route_of_source(context),)) if context.request.source else _select_served(context)
    if not selected.routes:
        raise InvalidInput(
            "no path is selected by paths, exclude paths and path labels (private ones need to be asked for)"
        )
    return selected


def _route_of_source(context: PushContext) -> Route:
    catalog, name = context.catalog, context.request.selector.repository
    snapshot = catalog.serving.find(name) or catalog.snapshots.find(name)
    if snapshot is None:
        raise NameUnknown(f"nothing is served at {name!r} here, and no repository has that name")
    return Route(name, snapshot.repository, snapshot.version, context.request.remote(name))


def _select_served(context: PushContext) -> SelectedRoutes:
    request, catalog = context.request, context.catalog
    catalog.snapshots.refresh()
    served = {one.path: one for one in catalog.distributions.all() if not one.remote}
    selected = set(select_paths(served, include=request.paths, exclude=request.exclude_paths))
    routes: list[Route] = []
    not_selected: list[str] = []
    for path, distribution in served.items():
        if path not in selected or not has_labels(distribution.labels, request.path_labels):
            not_selected.append(path)
        elif distribution.private and not request.private:
            not_selected.append(path)
            context.log.note(f"{path} is private and was left out; `private` selects it too")
        else:
            snapshot = catalog.serving.find(path) or Snapshot(distribution.repository, 0)
            routes.append(Route(path, snapshot.repository, snapshot.version, request.remote(path)))
    return SelectedRoutes(tuple(routes), tuple(not_selected))


async def select_path_tags(context: PushContext, route: Route) -> SelectedPath:
    """Select the tags of a path; raise InvalidInput for a source of which nothing is selected.

    Another path of which nothing is selected is left alone: that is no reason for a mirror to delete all that the target has.
    """
    opened = await context.open(route)
    snapshot = opened.snapshot
    selected = await asyncio.to_thread(_select_roots, context, route, opened)
    if not selected.roots:
        if context.request.source and snapshot.tags:
            shown = ", ".join(snapshot.sorted_tags[:5])
            raise InvalidInput(
                f"no tag of {route.path} is selected by include, exclude and newest; it has, for example: {shown}"
            )
        context.log.note(f"nothing of {route.path} is selected, so the target was left alone there")
    return SelectedPath(route, opened, dict(selected.roots), dict(selected.dropped))


def _select_roots(context: PushContext, route: Route, opened: Opened) -> Roots:
    request, companions = context.request, context.companions
    snapshot, children = opened
    if not request.is_pinned:
        selection = select_content(context.catalog, snapshot, request.wanted, datetime.now(UTC))
        return select_tags(snapshot, children, selection, request.wanted.tags, companions)
    selector = request.selector
    digest = selector.digest or snapshot.tags.get(selector.tag)
    if digest is None or digest not in snapshot.manifests:
        raise ManifestUnknown(f"{selector} is not in version {snapshot.version} of {snapshot.repository}")
    name = route.remote.reference.tag or selector.tag or str(digest)
    return select_one(snapshot, children, name, digest, companions)
