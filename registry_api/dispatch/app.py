"""The registry protocol as one plain ASGI application: route, identify, resolve, check the right, handle, respond."""

import asyncio
import logging

from starlette.types import Receive, Scope, Send

from catalog.access.policy import NOBODY, Caller
from oci.errors import CatalogUnavailable, EntrepotError, NotFound, PullRefused, Unauthorized, Unsupported
from oci.remote.network.hops import Hops, current, parse_via
from registry_api.auth.access_controller import CHANGES, installation_mark
from registry_api.context import Registry
from registry_api.dispatch.headers import HeadersAdded
from registry_api.dispatch.refusals import parameter_of, refuse, refuse_method
from registry_api.dispatch.resolver import TargetResolver
from registry_api.dispatch.routes import BASE, ROUTES, Endpoint, Match, checked_name, match_path
from registry_api.freshness import WARNING, Confirmation
from registry_api.http.bodies import ClientGone
from registry_api.http.errors import Stopping, error_response, internal_error_response
from registry_api.http.exchange import Exchange, exchange_of
from registry_api.http.extensions import SEND_WHOLE, SendWhole
from registry_api.http.messages import RoutedRequest, Sendable, WholeResponse, find_header
from registry_api.pull_through.caches import Caches
from registry_api.pull_through.missing_children import MissingChildren

log = logging.getLogger("registry_api")


class DistributionApi:
    """Responds to every request under /v2; without FastAPI, which takes longer than all the rest."""

    def __init__(self, registry: Registry, caches: Caches, missing: MissingChildren) -> None:
        self._registry = registry
        self._resolver = TargetResolver(registry, caches, missing)
        self._hops: Hops | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request; every error of ours becomes a response in the form of the specification."""
        exchange = exchange_of(scope)
        try:
            response = await self._respond(scope, receive, exchange)
        except ClientGone:
            return
        except asyncio.CancelledError:  # by the server only, when it stops and has waited long enough
            response = error_response(Stopping("stopped in the middle of a request"), (b"connection", "close"))
        except EntrepotError as error:
            response = refuse(self._registry, scope, error)
        except Exception:
            reference = exchange.named(scope, self._registry.make_id)
            log.exception("unforeseen reference=%s method=%s path=%s", reference, scope["method"], scope["path"])
            response = internal_error_response(reference)
        is_head = scope["method"] == "HEAD"
        if isinstance(response, WholeResponse):
            exchange.status = response.status
            exchange.sent = 0 if is_head else len(response.body)
            send_whole: SendWhole | None = scope.get("extensions", {}).get(SEND_WHOLE)
            if send_whole is not None and send_whole(*response):
                return
        else:
            send = exchange.watch(scope, send)
        await response.send(send, head=is_head)

    async def _respond(self, scope: Scope, receive: Receive, exchange: Exchange) -> Sendable:
        """1. Endpoint. 2. Identify the caller, and count the request. 3. Resolve the target. 4. Check the right. 5. Handle."""
        registry = self._registry
        match = match_path(scope["path"])
        exchange.route = match.pattern
        route = ROUTES[match.pattern].get(scope["method"])
        if route is None:
            return refuse_method(scope, match)
        caller = await self._identify(scope)
        exchange.account = caller.account
        if route.action in CHANGES and registry.catalog.settings.read_only:
            raise Unsupported("this registry is read-only now; pulls go on")
        if not match.name:
            if match.pattern == BASE and caller == NOBODY:
                raise Unauthorized("authentication required: log in or request an anonymous token")
            return await route.handler(registry, RoutedRequest("", "", match.reference, caller, scope, receive))
        name, namespace = checked_name(match.name), ""
        if route.action == "pull":
            current.set(self._hops_of(scope))
            if b"ns=" in scope["query_string"] and (registry_name := parameter_of(scope, "ns")):
                name, namespace = self._resolver.resolve_namespace(registry_name, name)
        request = RoutedRequest(name, "", match.reference, caller, scope, receive)
        response = await self._handle(match, route, request)
        if namespace:
            return HeadersAdded(response, [(b"oci-namespace", namespace.encode("latin-1", "replace"))])
        return response

    async def _handle(self, match: Match, route: Endpoint, request: RoutedRequest) -> Sendable:
        """Respond by what memory knows, and by what this request knows of memory.

        What is not found or refused is looked for again once memory is confirmed. What cannot be confirmed has a warning, or
        fails.
        """
        found = await self._resolver.confirm(match, route, request.name)
        try:
            response = await self._handle_once(match, route, request)
        except (NotFound, PullRefused, Unauthorized) as error:
            if found is Confirmation.RECENT:
                found = await self._resolver.confirm(match, route, request.name, own=True)
                if found is Confirmation.OWN:
                    return await self._handle_once(match, route, request)
            if found is Confirmation.MISSING and isinstance(error, NotFound):
                raise CatalogUnavailable("the catalogue's database does not answer, and memory lacks it") from error
            raise
        return HeadersAdded(response, [(b"warning", WARNING)]) if found is Confirmation.MISSING else response

    async def _handle_once(self, match: Match, route: Endpoint, request: RoutedRequest) -> Sendable:
        target = await self._resolver.resolve(match, route, request.name)
        target.check(request.caller, request.scope)
        return await target.handler(self._registry, request._replace(repository=target.repository))

    def _hops_of(self, scope: Scope) -> Hops:
        """Return the registries that the request has passed, and then this one."""
        if self._hops is None:
            self._hops = Hops(installation_mark(self._registry.access.store.policy, self._registry.catalog.settings))
        via = find_header(scope, b"via")
        return self._hops if via is None else parse_via(via.decode("latin-1"), self._hops.own)

    async def _identify(self, scope: Scope) -> Caller:
        registry = self._registry
        try:
            caller = await registry.access.identify(scope)
        except Unauthorized:
            registry.rate.spend(registry.cost_key(NOBODY, scope))
            raise
        registry.rate.spend(registry.cost_key(caller, scope))
        return caller
