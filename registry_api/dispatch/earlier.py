"""The target of a path of time travel: an earlier version of what another path serves."""

from starlette.types import Scope

from catalog.access.policy import Caller
from catalog.versions.time_travel import Past
from oci.errors import Denied
from registry_api.auth.access_controller import CHANGES
from registry_api.context import Registry
from registry_api.dispatch.routes import MANIFEST, Endpoint, Handler, Match
from registry_api.dispatch.target import check_right
from registry_api.http.messages import RoutedRequest, Sendable
from registry_api.pull_through.missing_children import MissingChildren


class EarlierTarget:
    """An earlier version that a path has served. The rights are those of that path; nothing can be changed.

    That the path is public opens the versions that it has served since then.
    """

    __slots__ = (
        "_is_public",
        "_match",
        "_missing",
        "_name",
        "_past",
        "_registry",
        "_route",
        "handler",
        "repository",
    )

    def __init__(
        self,
        registry: Registry,
        missing: MissingChildren,
        match: Match,
        route: Endpoint,
        name: str,
        past: Past,
        *,
        is_public: bool,
    ) -> None:
        self._registry, self._missing, self._match, self._route = registry, missing, match, route
        self._name, self._past, self._is_public = name, past, is_public
        self.repository = name
        self.handler: Handler = self._find_and_handle

    def check(self, caller: Caller, scope: Scope) -> None:
        """Raise Unauthorized or Denied when the caller may not send this request."""
        action, name, path = self._route.action, self._name, self._past.path
        check_right(self._registry, action, caller.with_past(name, path), path, scope, public=self._is_public)
        if action in CHANGES:
            raise Denied(f"{name} is an earlier version of {path}, which cannot be changed; {action} to {path}")

    async def _find_and_handle(self, registry: Registry, request: RoutedRequest) -> Sendable:
        distribution = await registry.threads.run(registry.catalog.time_travel.at, self._name, self._past)
        if self._match.pattern == MANIFEST and ":" in request.reference:
            await self._missing.fetch(registry, distribution, request.reference)  # of a fixed version: it only refuses
        return await self._route.handler(registry, request._replace(repository=distribution.repository))
