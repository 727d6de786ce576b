"""One push under way: which paths go where, and what has become of each so far."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from catalog.catalog import Catalog
from catalog.distributions.records import has_labels
from catalog.filters.companions import CompanionFilter
from catalog.path_patterns import select_paths
from catalog.remotes.clients import Upstreams
from catalog.versions.snapshot import Snapshot
from flows.push.plan import Children, blobs_of
from flows.push.request import PushRequest
from flows.push.target import Neighbours
from flows.runs.metering import Meter
from flows.runs.plan_items import PlanItem
from flows.runs.progress import Progress
from oci.digest import Digest
from oci.errors import InvalidInput, NameUnknown
from oci.remote.address import Remote
from oci.remote.repository import RemoteRepository


@dataclass(frozen=True, slots=True)
class Route:
    """A path here, the version that it serves, and the repository that is to hold the same."""

    path: str
    repository: str
    version: int
    remote: Remote


class PathPush:
    """One path. No dataclass, so that Prefect does not walk through it looking for other tasks' results."""

    def __init__(self, job: "PushJob", route: Route) -> None:
        self.job, self.route = job, route
        self.wanted: dict[str, Digest] = {}
        self.dropped: dict[str, str] = {}
        self.items: dict[str, PlanItem] = {}
        self.moved: dict[str, Meter] = {}
        self.unsigned: dict[Digest, Digest] = {}
        """Manifests whose Atomic signatures the target does not take yet, each with the root that it belongs to."""
        self.mounted = 0
        self.has_referrers = False

    def fail(self, tag: str, reason: str) -> None:
        """Note that a tag could not be pushed."""
        item = self.items[tag]
        self.items[tag] = PlanItem(tag, "failed", item.digest, item.previous, reason=reason)

    def of(self, *actions: str) -> list[PlanItem]:
        """Its items of these actions."""
        return [item for item in self.items.values() if item.action in actions]

    async def open(self) -> tuple[Snapshot, Children]:
        """What the path holds, and what its manifests are made of; read again each time, so that many paths take no memory."""
        return await asyncio.to_thread(self._open)

    def _open(self) -> tuple[Snapshot, Children]:
        return self.snapshot(), self.job.catalog.history.children(self.route.repository)

    def snapshot(self) -> Snapshot:
        """The version that the path serves: 0, the empty one, has no repository where nothing was ever put into it."""
        catalog, route = self.job.catalog, self.route
        return (
            catalog.snapshots.get(route.repository, route.version) if route.version else Snapshot(route.repository, 0)
        )

    def blobs_of(self, roots: Sequence[Digest]) -> set[Digest]:
        """The blobs that manifests of the path are made of; one query."""
        return blobs_of(*self._open(), roots)

    async def remote(self) -> RemoteRepository:
        """The repository at the other registry."""
        return await self.job.upstreams.repository(self.route.remote, for_push=True)

    @property
    def failed(self) -> dict[str, str]:
        """The reason for each tag that failed, by its whole name at the target."""
        name = self.route.remote.reference.repository
        return {f"{name}{'@' if ':' in item.tag else ':'}{item.tag}": item.reason for item in self.of("failed")}


class PushJob:
    """The state of one run; use it within one event loop."""

    def __init__(
        self, request: PushRequest, catalog: Catalog, upstreams: Upstreams, progress: Progress | None = None
    ) -> None:
        self.request, self.catalog, self.upstreams = request, catalog, upstreams
        self.progress = progress or Progress()
        self.companions = CompanionFilter(request.companions)
        self.neighbours = Neighbours()
        self.paths: list[PathPush] = []
        self.not_selected: list[str] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep a remark for the result: nothing failed, but somebody should know."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def failed(self) -> dict[str, str]:
        """The reason for each tag that failed."""
        return {name: reason for one in self.paths for name, reason in one.failed.items()}


def choose_paths(job: PushJob) -> None:
    """Choose what is pushed where; raise NameUnknown, or InvalidInput where nothing is chosen or two paths would be one."""
    request = job.request
    routes = [_route_of_source(job)] if request.source else _routes(job)
    if not routes:
        raise InvalidInput(
            "no path is selected by paths, exclude paths and path labels (private ones need to be asked for)"
        )
    job.paths = [PathPush(job, route) for route in routes]


def _route_of_source(job: PushJob) -> Route:
    catalog, name = job.catalog, job.request.selector.repository
    found = catalog.serving.find(name) or catalog.snapshots.find(name)
    if found is None:
        raise NameUnknown(f"nothing is served at {name!r} here, and no repository has that name")
    return Route(name, found.repository, found.version, job.request.remote(name))


def _routes(job: PushJob) -> Sequence[Route]:
    request, catalog = job.request, job.catalog
    catalog.snapshots.refresh()
    served = {one.path: one for one in catalog.distributions.all() if not one.remote}
    selected = set(select_paths(served, include=request.paths, exclude=request.exclude_paths))
    routes: list[Route] = []
    for path, one in served.items():
        if path not in selected or not has_labels(one.labels, request.path_labels):
            job.not_selected.append(path)
        elif one.private and not request.private:
            job.not_selected.append(path)
            job.note(f"{path} is private and was left out; `private` takes it too")
        else:
            snapshot = catalog.serving.find(path) or Snapshot(one.repository, 0)
            routes.append(Route(path, snapshot.repository, snapshot.version, request.remote(path)))
    return routes
