"""The target of most requests: a distribution, or a path that serves nothing yet."""

from starlette.types import Scope

from catalog.access.policy import Caller
from catalog.distributions.records import Distribution
from registry_api.auth.access_controller import CHANGES
from registry_api.context import Registry
from registry_api.dispatch.routes import MANIFEST, Endpoint, Handler, Match
from registry_api.dispatch.target import check_right
from registry_api.http.messages import RoutedRequest, Sendable
from registry_api.path_changes import check_changeable
from registry_api.pull_through.missing_children import MissingChildren


class PresentTarget:
    """A path with the version that it serves now, if any."""

    __slots__ = ("_distribution", "_missing", "_name", "_registry", "_route", "handler", "repository")

    def __init__(
        self,
        registry: Registry,
        missing: MissingChildren,
        match: Match,
        route: Endpoint,
        name: str,
        distribution: Distribution | None,
    ) -> None:
        self._registry, self._missing, self._route = registry, missing, route
        self._name, self._distribution = name, distribution
        self.repository = name if distribution is None else distribution.repository
        self.handler: Handler = route.handler
        if distribution is not None and match.pattern == MANIFEST and route.action == "pull" and ":" in match.reference:
            snapshot = registry.catalog.serving.cached(name)
            if snapshot is None or match.reference not in snapshot.manifests:
                self.handler = self._fetch_and_handle

    def check(self, caller: Caller, scope: Scope) -> None:
        """Raise Unauthorized or Denied when the caller may not send this request."""
        action, distribution, name = self._route.action, self._distribution, self._name
        is_public = distribution is not None and not distribution.private
        check_right(self._registry, action, caller, name, scope, public=is_public)
        if action in CHANGES:
            check_changeable(self._registry, action, name, distribution)

    async def _fetch_and_handle(self, registry: Registry, request: RoutedRequest) -> Sendable:
        """Fetch a manifest that may be a child left out of an index here, then handle the request."""
        assert self._distribution is not None
        await self._missing.fetch(registry, self._distribution, request.reference)
        return await self._route.handler(registry, request)
