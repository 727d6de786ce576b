"""The context of one push: what was asked, both ends of the copy, and where remarks and progress go."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from catalog.catalog import Catalog
from catalog.filters.companions import CompanionFilter
from catalog.remotes.clients import Upstreams
from catalog.versions.snapshot import Snapshot
from flows.push.plan import Children, blobs_of
from flows.push.request import PushRequest
from flows.push.target import Neighbours
from flows.runs.progress import Progress
from flows.runs.run_log import RunLog
from oci.digest import Digest
from oci.remote.address import Remote
from oci.remote.repository import RemoteRepository


@dataclass(frozen=True, slots=True)
class Route:
    """A path here, the version that it serves, and the repository that is to hold the same."""

    path: str
    repository: str
    version: int
    remote: Remote


class Opened(NamedTuple):
    """The version that a path serves, and the parts of its manifests."""

    snapshot: Snapshot
    children: Children


@dataclass(frozen=True, slots=True)
class PushContext:
    """Everything that the stages of a push share and none of them changes. Use it within one event loop.

    `neighbours` remembers which repositories of the target hold which blobs. `log` counts by path and tag.
    """

    request: PushRequest
    catalog: Catalog
    upstreams: Upstreams
    progress: Progress = field(default_factory=Progress)
    neighbours: Neighbours = field(default_factory=Neighbours)
    log: RunLog[tuple[str, str]] = field(default_factory=RunLog)

    @property
    def companions(self) -> CompanionFilter:
        """The filter of companions."""
        return CompanionFilter(self.request.companions)

    @property
    def concurrency(self) -> int:
        """The number of requests that run at once."""
        return self.catalog.settings.copy_concurrency

    async def open(self, route: Route) -> Opened:
        """Read what a path holds; read again each time, so that many paths need no memory."""
        return await asyncio.to_thread(self._open, route)

    def _open(self, route: Route) -> Opened:
        return Opened(self.snapshot(route), self.catalog.history.children(route.repository))

    def snapshot(self, route: Route) -> Snapshot:
        """Return the version that a path serves: 0, the empty one, where nothing was ever put into it."""
        if not route.version:
            return Snapshot(route.repository, 0)
        return self.catalog.snapshots.get(route.repository, route.version)

    def blobs_of(self, route: Route, roots: Sequence[Digest]) -> set[Digest]:
        """Return the blobs of manifests of a path; one query."""
        return blobs_of(*self._open(route), roots)

    async def connect(self, route: Route) -> RemoteRepository:
        """Return the repository at the other registry."""
        return await self.upstreams.repository(route.remote, for_push=True)
