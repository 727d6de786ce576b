"""Assembles the registry as one ASGI application: /v2 without a framework, everything else by FastAPI."""

import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from catalog.access.login_attempts import LoginAttempts
from catalog.access.store import AccessStore
from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import Settings
from oci.errors import Denied
from oci.traces.spans import active
from registry_api import flatpak_index, health, token_endpoint
from registry_api.auth.access_controller import AccessController
from registry_api.auth.oidc_tokens import IdentityTokens
from registry_api.auth.rate_limits import TokenBuckets
from registry_api.background.tasks import background_tasks
from registry_api.context import Registry
from registry_api.dispatch.app import DistributionApi
from registry_api.freshness import Freshness
from registry_api.gates.gates import Gates
from registry_api.gates.policy_gate import PolicyGate
from registry_api.http.errors import error_response
from registry_api.http.exchange import EXCHANGE, Exchange
from registry_api.http.fastapi_errors import respond_invalid, respond_unrouted
from registry_api.http.forwarded import TrustedProxies
from registry_api.http.hosts import Hosts, is_cross_origin, trusted_proxies
from registry_api.http.offload import Offload
from registry_api.http.threads import Threads
from registry_api.management import (
    accounts,
    content,
    holds,
    lifecycles,
    policies,
    queries,
    quotas,
    remotes,
    retention,
    versions,
)
from registry_api.management import (
    gates as gate_rules,
)
from registry_api.management.description import describe_api
from registry_api.management.sboms import image_sboms, package_search
from registry_api.metrics import routes as metrics
from registry_api.metrics.observer import Observer
from registry_api.metrics.request_spans import begin_span, end_span
from registry_api.metrics.scrape import Scrape
from registry_api.on_demand import Fetches
from registry_api.pages.framework.visits import Site
from registry_api.pages.routers import PAGES
from registry_api.pull_through.caches import Caches
from registry_api.pull_through.missing_children import MissingChildren
from registry_api.token_endpoint import prepare_key
from registry_api.webhooks import receiver, routes
from registry_api.webhooks.context import Webhooks, open_webhooks

if TYPE_CHECKING:
    import httpx

_DISTRIBUTION = ("/v2/", "/extensions/v2/", "/sigstore/")
ROUTERS = (
    health.router,
    metrics.router,
    token_endpoint.router,
    content.router,
    versions.router,
    accounts.router,
    quotas.router,
    holds.router,
    policies.router,
    policies.verification_router,
    gate_rules.router,
    lifecycles.router,
    retention.router,
    image_sboms.router,
    package_search.router,
    queries.router,
    receiver.router,
    routes.router,
    remotes.router,
    flatpak_index.router,
)
Now = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


def _make_id() -> str:
    return uuid.uuid4().hex


def create_app(catalog: Catalog, *, now: Now = _now, make_id: Callable[[], str] = _make_id) -> "Application":
    """Return the application over an open catalogue; the caller closes the catalogue after the application has ended."""
    catalog.make_all()
    threads = Threads()
    settings = catalog.settings
    upstreams = Upstreams(settings, catalog.remotes, interactive=True)
    identities = IdentityTokens(lambda: _identity_client(settings), internal=settings.internal_hosts)
    store = AccessStore(settings, catalog.state)
    attempts = LoginAttempts(catalog.state) if catalog.state is not None else None
    access = AccessController(store, catalog.events, threads, now, identities, attempts)
    fetches = Fetches(catalog, threads, upstreams)
    limit, hosts = TokenBuckets(settings.request_rate), Hosts(settings)
    freshness = Freshness(catalog.serving, threads, time.monotonic, staleness=settings.max_staleness)
    gates = Gates(catalog, (catalog.holds, catalog.lifecycles), now)
    policy_gate = PolicyGate(catalog, threads, catalog.events, now)
    registry = Registry(catalog, access, threads, now, make_id, fetches, limit, hosts, freshness, gates, policy_gate)
    caches, missing = Caches(upstreams), MissingChildren(upstreams)
    observer = Observer(settings, now, make_id)
    scrape = Scrape(registry, observer.counts, upstreams)
    webhooks = open_webhooks(settings, catalog.state)
    management = _create_management(registry, caches, missing, upstreams, webhooks, scrape)
    proxies = trusted_proxies(settings)
    offload = Offload(settings.offload_path, proxies)
    distribution = DistributionApi(registry, caches, missing)
    return Application(distribution, management, proxies, offload, observer, settings.public_url)


def _identity_client(settings: Settings) -> "httpx.AsyncClient":
    from registry_api.auth.issuer_keys import identity_client  # called on a thread: it loads the HTTP client

    return identity_client(settings)


@dataclass(frozen=True, slots=True)
class Application:
    """The whole registry: the distribution protocol without a framework, the rest by FastAPI."""

    distribution: DistributionApi
    management: FastAPI
    proxies: TrustedProxies
    offload: Offload
    observer: Observer
    public_url: str = ""

    def leave(self) -> None:
        """End what would go on for as long as clients like, since the server stops."""
        self.management.state.site.feed.leave()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        if scope["type"] != "http":
            await self.management(scope, receive, send)
            return
        exchange = scope[EXCHANGE] = Exchange()
        self.offload.mark(scope)
        tracing, span = active(), None
        if tracing is not None:
            span = begin_span(tracing, scope, exchange, is_trusted=self.proxies.is_peer(scope))
        scope = self.proxies.apply(scope)
        try:
            if is_cross_origin(scope, self.public_url):
                refusal = error_response(Denied("cross-origin requests may not change anything"))
                await refusal.send(exchange.watch(scope, send), head=False)
            elif scope["path"].startswith(_DISTRIBUTION) or scope["path"] == "/v2":
                await self.distribution(scope, receive, send)
            else:
                await self.management(scope, receive, exchange.watch(scope, send))
                exchange.route = getattr(scope.get("route"), "path", "")
        finally:
            self.observer.finish(scope, exchange)
            if span is not None:
                end_span(span, scope, exchange)


def _create_management(
    registry: Registry,
    caches: Caches,
    missing: MissingChildren,
    upstreams: Upstreams,
    webhooks: Webhooks,
    scrape: Scrape,
) -> FastAPI:
    settings = registry.catalog.settings
    site = Site(settings, registry.catalog.state, lambda: _identity_client(settings))

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await registry.threads.run(prepare_key, registry)
        await registry.threads.run(site.sessions.prepare)
        try:
            async with background_tasks(registry, webhooks, scrape):
                yield
        finally:
            await site.close()
            await caches.close()
            await missing.close()
            await registry.policy_gate.close()
            await registry.fetches.close()
            await upstreams.close()
            registry.threads.close()
            webhooks.queue.close()

    # FastAPI's documentation pages load their scripts from another host; ours is /api/docs.
    app = FastAPI(title="Entrepôt", version="1", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_route("/openapi.json", _describe_api, include_in_schema=False)
    app.state.registry, app.state.webhooks, app.state.scrape = registry, webhooks, scrape
    app.state.site = site
    app.add_exception_handler(RequestValidationError, respond_invalid)
    app.add_exception_handler(HTTPException, respond_unrouted)
    for router in (*ROUTERS, *(PAGES if registry.catalog.settings.pages else ())):
        app.include_router(router)
    return app


def _describe_api(request: Request) -> Response:
    return Response(_openapi_json(request.app), media_type="application/json")


@lru_cache(maxsize=1)
def _openapi_json(app: FastAPI) -> bytes:
    """Return the OpenAPI document; cached, since making it takes longer than many pulls."""
    return json.dumps(describe_api(app), ensure_ascii=False, separators=(",", ":")).encode()
