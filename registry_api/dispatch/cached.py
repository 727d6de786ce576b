"""The target of a path below a cache: what upstream has, fetched on request."""

from functools import partial

from starlette.types import Scope

from catalog.access.policy import Caller
from catalog.distributions.records import Distribution
from catalog.filters.companions import is_companion_tag
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import BlobUnknown, Denied, EntrepotError, ManifestUnknown, RemoteNotFound, Unauthorized
from registry_api.auth.access_controller import CHANGES, address_of
from registry_api.context import Registry
from registry_api.dispatch.headers import HeadersAdded
from registry_api.dispatch.routes import (
    BLOB,
    LOOKASIDE,
    MANIFEST,
    REFERRERS,
    SIGNATURES,
    TAGS,
    Endpoint,
    Handler,
    Match,
)
from registry_api.dispatch.target import check_right
from registry_api.http.eager import enter_task
from registry_api.http.messages import RoutedRequest, Sendable, warning_value
from registry_api.path_changes import check_changeable
from registry_api.pull_through.admission import denial_reason
from registry_api.pull_through.caches import Caches
from registry_api.pull_through.missing_children import MissingChildren
from registry_api.v2.listings import get_tags_with


class CachedTarget:
    """A path below a cache, with the content of the cache and its upstream."""

    __slots__ = (
        "_cache",
        "_caches",
        "_distribution",
        "_match",
        "_missing",
        "_name",
        "_registry",
        "_route",
        "handler",
        "repository",
    )

    def __init__(
        self,
        registry: Registry,
        caches: Caches,
        missing: MissingChildren,
        match: Match,
        route: Endpoint,
        name: str,
        cache: Distribution,
        distribution: Distribution | None,
    ) -> None:
        self._registry, self._caches, self._missing = registry, caches, missing
        self._match, self._route, self._name = match, route, name
        self._cache, self._distribution = cache, distribution
        self.repository = name
        self.handler: Handler = self._fetch_and_handle if route.action == "pull" else route.handler

    def check(self, caller: Caller, scope: Scope) -> None:
        """Raise Unauthorized or Denied when the caller may not send this request."""
        action, name = self._route.action, self._name
        served = self._distribution or self._cache
        check_right(self._registry, action, caller, name, scope, public=not served.private)
        if action in CHANGES:
            check_changeable(self._registry, action, name, self._distribution, self._cache)

    async def _fetch_and_handle(self, registry: Registry, request: RoutedRequest) -> Sendable:
        """Fetch what is requested, where the cache's rules and the caller's rights allow it, and handle the request."""
        await enter_task()
        denial = denial_reason(registry, self._cache, self._name, request.caller)
        if isinstance(denial, Unauthorized | Denied) and await self._is_child():
            denial = None  # a part of an index that is here
        try:
            handler, warning = await self._fetch(denial)
        except Denied as error:
            registry.access.note_fetch_denied(request.caller, self._name, error, address_of(request.scope))
            raise
        distribution = await registry.find_distribution(self._name)
        if distribution is not None and distribution.repository != request.repository:  # created meanwhile
            request = request._replace(repository=distribution.repository)
        response = await handler(registry, request)
        return HeadersAdded(response, [(b"warning", warning_value(warning).encode())]) if warning else response

    async def _fetch(self, denial: EntrepotError | None) -> tuple[Handler, str]:
        """Fetch unless that is denied; return the handler, and a warning when the content may be stale."""
        registry, cache, name, reference = self._registry, self._cache, self._name, self._match.reference
        handler = self._route.handler
        match self._match.pattern:
            case pattern if pattern == MANIFEST:
                warning = await self._caches.fetch_manifest(registry, cache, name, reference, denial)
                if registry.policy_gate.active:
                    await self._fetch_evidence(denial)
                return handler, warning
            case pattern if pattern == REFERRERS:
                return handler, await self._caches.fetch_referrers(registry, cache, name, reference, denial)
            case pattern if pattern in (SIGNATURES, LOOKASIDE):
                return handler, await self._caches.fetch_signatures(registry, cache, name, reference, denial)
            case pattern if pattern == TAGS:
                tags, warning = await self._caches.list_tags(registry, cache, name, denial)
                return partial(get_tags_with, tags), warning
            case pattern if pattern == BLOB and isinstance(denial, RemoteNotFound):
                digest = Digest.parse(reference)
                snapshot = await registry.find_served(name) or Snapshot(name, 0)
                if await registry.look_up(registry.catalog.rights.usable_size, snapshot, digest) is None:
                    raise BlobUnknown(denial.message)
        return handler, ""

    async def _fetch_evidence(self, denial: EntrepotError | None) -> None:
        """Fetch what lies beside a manifest upstream, where a gate asks about it that has not let it pass yet.

        What upstream lacks or fails to give is missing, and the gate says so.
        """
        registry, name, reference = self._registry, self._name, self._match.reference
        snapshot = await registry.find_served(name)
        if snapshot is None or is_companion_tag(reference):
            return
        if not registry.policy_gate.about("pull", registry.rights_path(name), snapshot.repository):
            return
        try:
            digest = snapshot.resolve(reference)
        except ManifestUnknown:
            return
        tag = "" if ":" in reference else reference
        if registry.policy_gate.is_settled(registry.gated(name, snapshot), digest, tag):
            return
        await self._caches.fetch_evidence(registry, self._cache, name, digest, denial)

    async def _is_child(self) -> bool:
        """Return whether the request is for a manifest that an index here names."""
        reference = self._match.reference
        if self._match.pattern != MANIFEST or ":" not in reference:
            return False
        snapshot = await self._registry.find_served(self._name)
        return snapshot is not None and await self._missing.parent_of(self._registry, snapshot, reference) is not None
