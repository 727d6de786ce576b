"""Finds the target of a request: what its path leads to, before its right is checked."""

from oci.errors import CatalogUnavailable
from registry_api.context import Registry
from registry_api.dispatch.cached import CachedTarget
from registry_api.dispatch.earlier import EarlierTarget
from registry_api.dispatch.present import PresentTarget
from registry_api.dispatch.routes import BLOB, MANIFEST, Endpoint, Match
from registry_api.dispatch.target import PathTarget
from registry_api.freshness import Confirmation, confirmation
from registry_api.pull_through.caches import Caches
from registry_api.pull_through.missing_children import MissingChildren


class TargetResolver:
    """Resolves paths as all processes of this installation know them, once that is confirmed."""

    def __init__(self, registry: Registry, caches: Caches, missing: MissingChildren) -> None:
        self._registry, self._caches, self._missing = registry, caches, missing
        self._snapshots, self._distributions = registry.catalog.snapshots, registry.catalog.distributions
        self._serving = registry.catalog.serving

    async def confirm(self, match: Match, route: Endpoint, name: str, *, own: bool = False) -> Confirmation:
        """Know what all processes have committed by now, and have the handlers of this request know how well that is known.

        A manifest or blob that a shared catalogue's memory has by digest needs no confirmation, unless `own` wants one; a change
        needs one always. Raises CatalogUnusable.
        """
        found = await self._confirm(match, name, is_pull=route.action == "pull", own=own)
        confirmation.set(found)
        return found

    async def _confirm(self, match: Match, name: str, *, is_pull: bool, own: bool) -> Confirmation:
        registry = self._registry
        if not self._serving.is_shared:
            if not self._snapshots.is_current():
                await registry.threads.run(self._snapshots.refresh)
            return Confirmation.OWN
        needs_own = own or not is_pull or match.pattern not in (MANIFEST, BLOB)
        if not needs_own and registry.freshness.is_recent() and self._serving.holds(name, match.reference):
            return Confirmation.RECENT
        found = await registry.freshness.confirm(own=own or not is_pull)
        if found is Confirmation.MISSING and not is_pull:
            raise CatalogUnavailable("the catalogue's database does not answer")
        return found

    async def resolve(self, match: Match, route: Endpoint, name: str) -> PathTarget:
        """Return the target of a path.

        1. Below a cache, unless a distribution there serves another repository: that cache. 2. A path of time travel that
        no distribution has: the earlier version. 3. Else what the path serves now, or nothing.
        """
        registry = self._registry
        distribution = self._distributions.find(name)
        cache = self._distributions.find_cache(name)
        if cache is not None and (distribution is None or distribution.repository == name):
            return CachedTarget(registry, self._caches, self._missing, match, route, name, cache, distribution)
        if distribution is None and (past := registry.catalog.time_travel.parse(name)) is not None:
            is_public = await registry.is_open(name)
            return EarlierTarget(registry, self._missing, match, route, name, past, is_public=is_public)
        return PresentTarget(registry, self._missing, match, route, name, distribution)

    def resolve_namespace(self, namespace: str, name: str) -> tuple[str, str]:
        """Return the path below a cache of the registry `namespace`, and that registry; without a cache, the name and ""."""
        path, registry_name = self._caches.resolve_namespace(self._registry, namespace, name)
        return path, registry_name or ""
