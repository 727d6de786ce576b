"""The registry as one ASGI application: /v2 by hand, everything else by FastAPI."""

import asyncio
import contextlib
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from catalog.access.bearer_tokens import needs_key
from catalog.access.store import AccessStore
from catalog.catalog import Catalog
from catalog.remotes.cache_logins import SharedLogin, shared_logins
from catalog.remotes.clients import Upstreams, make_keychain
from oci.errors import Denied, EntrepotError, InvalidInput, Unsupported
from registry_api.auth.gate import Gate
from registry_api.auth.oidc_tokens import IdentityTokens, identity_client
from registry_api.auth.rate_limits import RateLimit
from registry_api.context import Registry
from registry_api.flatpak_index import index_routes
from registry_api.health import health_routes
from registry_api.http.errors import RouteUnknown, error_answer, error_response
from registry_api.http.forwarded import TrustedProxies
from registry_api.http.hosts import Hosts, is_of_another_page, trusted_proxies
from registry_api.http.threads import Threads
from registry_api.management.accounts import administration_routes
from registry_api.management.content import management_routes
from registry_api.management.queries import query_routes
from registry_api.management.quotas import quota_routes
from registry_api.management.remotes import remote_routes
from registry_api.management.retention import retention_routes
from registry_api.management.versions import version_routes
from registry_api.on_demand import Fetches
from registry_api.pull_through.caches import Caches
from registry_api.pull_through.missing_children import AbsentChildren
from registry_api.token_endpoint import renew_key, token_routes
from registry_api.v2.app import DistributionApi
from registry_api.v2.pull_counting import PullWriter
from registry_api.webhooks.background import run_event_tasks
from registry_api.webhooks.context import Eventing, open_eventing
from registry_api.webhooks.receiver import hook_routes
from registry_api.webhooks.routes import event_routes

log = logging.getLogger("registry_api")
_EVENTS_EVERY = 1.0
_LOGINS_EVERY = 3600.0
_DISTRIBUTION = ("/v2/", "/extensions/v2/")
Now = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


def _make_id() -> str:
    return uuid.uuid4().hex


def create_app(catalog: Catalog, *, now: Now = _now, make_id: Callable[[], str] = _make_id) -> "Application":
    """Return the application over an open catalogue, which the caller closes after it has ended."""
    threads = Threads()
    settings = catalog.settings
    upstreams = Upstreams(settings, catalog.remotes, interactive=True)
    identities = IdentityTokens(lambda: identity_client(settings), internal=settings.internal_hosts)
    gate = Gate(AccessStore(settings), catalog.events, threads, now, identities)
    fetches = Fetches(catalog, threads, upstreams)
    limit, hosts = RateLimit(settings.request_rate), Hosts(settings)
    registry = Registry(catalog, gate, threads, now, make_id, fetches, limit, hosts)
    caches, absent = Caches(upstreams), AbsentChildren(upstreams)
    distribution, others = (
        DistributionApi(registry, caches, absent),
        _create_others(registry, caches, absent, upstreams, open_eventing(settings)),
    )

    return Application(distribution, others, trusted_proxies(settings), settings.public_url)


@dataclass(frozen=True, slots=True)
class Application:
    """The whole registry: the distribution protocol by hand, the rest by FastAPI."""

    distribution: DistributionApi
    others: FastAPI
    proxies: TrustedProxies
    public_url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            scope = self.proxies.heed(scope)
            if is_of_another_page(scope, self.public_url):
                await error_answer(Denied("pages of other origins may change nothing here")).send(send, head=False)
                return
        if scope["type"] == "http" and (scope["path"].startswith(_DISTRIBUTION) or scope["path"] == "/v2"):
            await self.distribution(scope, receive, send)
        else:
            await self.others(scope, receive, send)


def _create_others(
    registry: Registry, caches: Caches, absent: AbsentChildren, upstreams: Upstreams, eventing: Eventing
) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pulls = PullWriter(registry)
        running = (
            _sweep_uploads(registry),
            _write_events(registry),
            _tell_shared_logins(registry),
            pulls.run(),
            run_event_tasks(registry, eventing),
        )
        await registry.threads.run(_prepare_key, registry)
        tasks = [asyncio.create_task(one) for one in running]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await _flush_events(registry)
            await pulls.close()
            await caches.close()
            await absent.close()
            await registry.fetches.close()
            await upstreams.close()
            registry.threads.close()
            eventing.queue.close()

    # No documentation pages: FastAPI's load their scripts from another host.
    app = FastAPI(title="Entrepôt", version="1", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_route("/openapi.json", _description_of(app), include_in_schema=False)
    app.state.registry = registry
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(HTTPException, _tell_unrouted)
    app.include_router(health_routes(registry))
    app.include_router(token_routes(registry))
    app.include_router(management_routes(registry))
    app.include_router(version_routes(registry))
    app.include_router(administration_routes(registry))
    app.include_router(quota_routes(registry))
    app.include_router(retention_routes(registry))
    app.include_router(query_routes(registry))
    app.include_router(hook_routes(registry, eventing))
    app.include_router(event_routes(registry, eventing))
    app.include_router(remote_routes(registry))
    app.include_router(index_routes(registry))
    return app


def _description_of(app: FastAPI) -> Callable[[Request], Response]:
    """What answers with the description of the API: made once, since making it takes longer than many pulls."""

    @lru_cache(maxsize=1)
    def body() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    def describe(_request: Request) -> Response:
        return Response(body(), media_type="application/json")

    return describe


def _prepare_key(registry: Registry) -> None:
    """Have a key for tokens from the start, so that no pull has to write one."""
    if needs_key(registry.gate.access.policy, registry.now()):
        try:
            renew_key(registry.gate.access, registry.now())
        except EntrepotError as error:
            log.error("making a key for tokens failed error=%s", error)  # noqa: TRY400


async def _tell_invalid(_request: Request, error: Exception) -> Response:
    """What FastAPI found wrong with a request, in the form of all our errors."""
    assert isinstance(error, RequestValidationError)
    faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
    return error_response(InvalidInput(faults))


async def _tell_unrouted(request: Request, error: Exception) -> Response:
    """A path or a method that nothing answers to."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"][:300]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return error_response(Unsupported(f"{path!r} takes {allowed}, not {request.method[:50]}"), allow=allowed)
    if error.status_code == 404:
        return error_response(RouteUnknown(f"nothing answers at {path!r}"))
    return error_response(InvalidInput(str(error.detail)))


async def _write_events(registry: Registry) -> None:
    """Write audit events for ever, those of a second together."""
    while True:
        await asyncio.sleep(_EVENTS_EVERY)
        if registry.catalog.events.waits:
            await _flush_events(registry)


async def _tell_shared_logins(registry: Registry) -> None:
    """Warn for ever, each hour, of public caches that use a login without anybody having said that they should."""
    while True:
        try:
            for found in await registry.threads.run(_shared_logins, registry.catalog):
                log.warning(
                    "a public cache uses a login, so that everybody may pull what that login may path=%s remote=%s login=%s; say "
                    "`entrepot distribution set %s --private`, or --public if it is meant to be so",
                    found.path, found.remote, found.login, found.path,
                )  # fmt: skip
        except (EntrepotError, OSError) as error:
            log.error("looking for logins of caches failed error=%s", error)  # noqa: TRY400
        await asyncio.sleep(_LOGINS_EVERY)


def _shared_logins(catalog: Catalog) -> list[SharedLogin]:
    return list(shared_logins(catalog.distributions, make_keychain(catalog.settings), catalog.remotes))


async def _flush_events(registry: Registry) -> None:
    try:
        await registry.threads.commit(registry.catalog.events.flush, registry.now)
    except Exception as error:  # whatever it is, the next ones are to be written
        log.exception("writing audit events failed; they are kept and tried again error=%s", error)  # noqa: TRY401


async def _sweep_uploads(registry: Registry) -> None:
    """Drop expired upload sessions for ever; a sweep that fails is logged and tried again."""
    pause = min(max(registry.catalog.settings.upload_expiry / 10, 1.0), 3600.0)
    while True:
        try:
            dropped = await registry.threads.run(registry.catalog.uploads.sweep, registry.now().timestamp())
            if dropped:
                log.info("swept upload sessions dropped=%d", dropped)
        except (EntrepotError, OSError) as error:
            log.error("sweeping upload sessions failed error=%s", error)  # noqa: TRY400
        await asyncio.sleep(pause)
