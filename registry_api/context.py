"""The registry that every handler works with: catalogue, gate, threads, clock, limits and caches of this process."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends
from starlette.requests import Request
from starlette.types import Scope

from catalog.access.policy import Caller
from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.pull_counts import PullCounter
from catalog.versions.snapshot import Snapshot
from catalog.versions.time_travel import Past
from oci.digest import Digest
from oci.errors import CatalogUnavailable, NameUnknown
from registry_api.auth.access_controller import AccessController, address_of
from registry_api.auth.login_checks import address_key
from registry_api.auth.rate_limits import TokenBuckets
from registry_api.bounded_cache import BoundedCache
from registry_api.freshness import Confirmation, Freshness, confirmation, within
from registry_api.gates.gates import Gates
from registry_api.gates.policy_gate import GatedContent, PolicyGate
from registry_api.gates.pull_view import PullView
from registry_api.http.fair_queue import FairQueue, Slots
from registry_api.http.hosts import Hosts
from registry_api.http.response_cache import ResponseCache
from registry_api.http.threads import Threads
from registry_api.on_demand import Fetches

_P = ParamSpec("_P")
_T = TypeVar("_T")
_PATIENCE = 10.0
"""Seconds that the record of blobs may take to answer."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The state of one serving process: the catalogue, access control, threads, clock, ids, fetches and limits."""

    catalog: Catalog
    access: AccessController
    threads: Threads
    now: Callable[[], datetime]
    make_id: Callable[[], str]
    fetches: Fetches
    rate: TokenBuckets
    hosts: Hosts
    freshness: Freshness
    gates: Gates
    policy_gate: PolicyGate
    opened: "BoundedCache[Digest, None]" = field(default_factory=lambda: BoundedCache(10_000))
    """Blobs whose folders the system has in memory, so that opening them again reads no disk."""
    warned: "BoundedCache[str, None]" = field(default_factory=lambda: BoundedCache(1_000))
    """The patterns of quotas whose soft limit is reported as exceeded."""
    described: "BoundedCache[tuple[Digest, str], bytes]" = field(default_factory=lambda: BoundedCache(20_000))
    """The descriptors of referrers, as JSON, by digest and media type."""

    readers: FairQueue = field(default_factory=lambda: FairQueue(8, waiting=64))
    """Turns of the management API's reading requests."""
    responses: ResponseCache = field(default_factory=ResponseCache)
    """Responses that cost much, kept while they are valid."""

    readiness: ResponseCache = field(default_factory=ResponseCache)
    """The last result of the readiness check, apart from the others so that it waits for none of them."""

    queries: Slots = field(default_factory=Slots)
    """Slots of the SQL queries that run at a time."""

    searches: FairQueue = field(default_factory=lambda: FairQueue(1, waiting=8))
    """Turns of searches for packages, so that they leave slots to the queries of administrators."""

    pulls: PullCounter = field(default_factory=PullCounter)
    """The pulls that are not written yet."""

    async def find_distribution(self, path: str) -> Distribution | None:
        """Return the distribution of a path, as all processes know it by now; None where there is none."""
        await self.refresh()
        return self.catalog.distributions.find(path)

    async def refresh(self) -> None:
        """Know what all processes have committed by now; while the database does not answer, go by what was last confirmed.

        Raises CatalogUnavailable where that must not be gone by.
        """
        await self.freshness.confirm()
        if not (self.catalog.serving.is_shared or self.catalog.snapshots.is_current()):
            await self.threads.run(self.catalog.snapshots.refresh)

    async def look_up(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call what asks the record of blobs: here where it is a file, which takes microseconds; else on a thread, since a
        database may take for ever. Raise CatalogUnavailable: at once where it did not answer this request before."""
        if not self.catalog.serving.is_shared:
            return call(*args, **kwargs)
        if confirmation.get() is Confirmation.MISSING:
            raise CatalogUnavailable("the catalogue's database does not answer")
        return await within(_PATIENCE, self.threads.run(call, *args, **kwargs))

    def cost_key(self, caller: Caller, scope: Scope) -> str:
        """Return the identity that a request's cost counts for: the account, else the address."""
        return caller.account or address_key(address_of(scope))

    async def state(self, caller: Caller) -> Hashable:
        """Return a value that changes with what lists for a caller depend on: versions, distributions and rules."""
        await self.find_distribution("")
        store = self.access.store
        return self.catalog.serving.state, store.policy and store.stamp, caller

    def rights_path(self, path: str) -> str:
        """Return the path whose rights apply: of a path of time travel the path itself served before; no I/O."""
        past = self._past_of(path)
        return path if past is None else past.path

    def _past_of(self, path: str) -> Past | None:
        past = self.catalog.time_travel.parse(path)
        return None if past is None or self.catalog.distributions.find_cache(path) else past

    async def is_open(self, path: str) -> bool:
        """Return whether anybody may pull from a path: a public distribution, a path below a public cache, or an earlier
        version that either has served since it is public."""
        past = self._past_of(path)
        if past is None:
            distribution = self.catalog.distributions.find(path) or self.catalog.distributions.find_cache(path)
            return distribution is not None and not distribution.private
        if self.catalog.time_travel.needs_reading(past):
            return await self.threads.run(self.catalog.time_travel.is_open, past)
        return self.catalog.time_travel.is_open(past)

    async def may_pull(self, caller: Caller, path: str) -> bool:
        """Return whether a caller may pull from a path, of time travel too."""
        holder, rights = self._holder(caller, path)
        return self.access.decide(holder, "pull", rights, public=await self.is_open(path)).allowed

    async def check_pull(self, caller: Caller, path: str, address: str) -> None:
        """Raise Unauthorized or Denied for a caller who may not pull from a path, of time travel too."""
        holder, rights = self._holder(caller, path)
        self.access.check(holder, "pull", rights, public=await self.is_open(path), address=address)

    def _holder(self, caller: Caller, path: str) -> tuple[Caller, str]:
        """Return the caller as rights to a path are asked, and the path whose rights they are."""
        rights = self.rights_path(path)
        return (caller if rights == path else caller.with_past(path, rights)), rights

    def may_push(self, caller: Caller, path: str) -> bool:
        """Return whether a caller's account may push to a path, whatever its token was made for; no I/O."""
        return self.access.decide(caller.unscoped, "push", path, public=False).allowed

    def shows_leases(self, caller: Caller, path: str) -> bool:
        """Return whether a path serves a caller blobs that its repository has leased and no version of it holds yet; no I/O.

        A repository's own path that was always public serves them to everybody. Other paths serve them to callers who may
        push there, since leases may be of private content. A path of time travel or of a fixed version serves that version
        alone.
        """
        distribution = self.catalog.distributions.find(path)
        if (distribution is not None and distribution.version is not None) or self._past_of(path) is not None:
            return False
        if (
            distribution is not None
            and not distribution.private
            and distribution.path == distribution.repository
            and distribution.history_from <= 1
        ):
            return True
        return self.access.decide(caller.unscoped, "push", path, public=False).allowed

    async def find_served(self, path: str) -> Snapshot | None:
        """Return the version that a path serves; None where it serves none."""
        cached = self.catalog.serving.cached(path)
        return cached if cached is not None else await self.threads.run(self.catalog.serving.find, path)

    async def served(self, path: str) -> Snapshot:
        """Return the version that a path serves; raise NameUnknown."""
        snapshot = await self.find_served(path)
        if snapshot is None:
            raise NameUnknown(f"no repository {path!r} here")
        return snapshot

    async def find_view(self, path: str, base: Snapshot) -> PullView | None:
        """Return what a path serves of a version through the gates; None where no rule is about the path.

        Call it where `gates.active` says so. Raises CatalogUnusable when it cannot be known.
        """
        if self.gates.is_open(path):
            return None
        view = self.gates.cached(path, base)
        if view is not None:
            return view
        if confirmation.get() is Confirmation.MISSING:
            raise CatalogUnavailable(
                "the catalogue's database does not answer, and memory lacks what may be pulled now"
            )
        made = self.threads.run(self.gates.find, path, self.rights_path(path), base)
        return await (within(_PATIENCE, made) if self.catalog.serving.is_shared else made)

    def gated(self, path: str, snapshot: Snapshot, view: PullView | None = None) -> GatedContent:
        """Return what a path serves as the gate by policies is asked about it; no I/O."""
        return GatedContent(path, self.rights_path(path), snapshot, 0 if view is None else view.serial)

    async def passing(self, path: str, base: Snapshot | None) -> Snapshot | None:
        """Return a version that a path serves without what its gates refuse."""
        view = await self.find_view(path, base) if base is not None and self.gates.active else None
        return base if view is None else view.snapshot

    async def pullable(
        self, path: str, base: Snapshot, blob: Digest, account: str = "", *, is_pull: bool = True
    ) -> Snapshot:
        """Return the version whose blobs a path serves now; raise PullRefused for a blob that its gates keep back.

        Without `is_pull`, no audit event tells of it: nobody has wanted to pull.
        """
        view = await self.find_view(path, base) if self.gates.active else None
        if view is not None:
            view.check_blob(blob)
            base = view.snapshot
        if self.policy_gate.active:
            await self.policy_gate.check_blob(self.gated(path, base, view), blob, account, is_pull=is_pull)
        return base

    async def is_given(
        self, caller: Caller, path: str, repository: str, snapshot: Snapshot | None, digest: Digest
    ) -> bool:
        """Return whether a path serves a caller a blob: its version has received it, or the path serves leased blobs."""
        version = snapshot or Snapshot(repository, 0)
        if digest not in version.blobs and not self.shows_leases(caller, path):
            return False
        return await self.look_up(self.catalog.rights.has_received, version, digest)


def registry_of(request: Request) -> Registry:
    """Return the registry of the application that a request reached."""
    registry: Registry = request.app.state.registry
    return registry


async def _depend_on_registry(request: Request) -> Registry:
    return registry_of(request)  # a coroutine, since FastAPI runs plain functions on threads


CurrentRegistry = Annotated[Registry, Depends(_depend_on_registry)]
"""The registry, as a route takes it."""
