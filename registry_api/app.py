"""The registry as one ASGI application: /v2 by hand, everything else by FastAPI."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from catalog.access import Users
from catalog.catalog import Catalog
from catalog.upstreams import Upstreams
from oci.errors import EntrepotError
from registry_api.access import Gate
from registry_api.caches import Caches
from registry_api.fetches import Fetches
from registry_api.health import health_routes
from registry_api.image_index import index_routes
from registry_api.management import management_routes
from registry_api.registry import Registry
from registry_api.threads import Threads
from registry_api.v2 import DistributionApi

log = logging.getLogger("registry_api")
_DISTRIBUTION = ("/v2/", "/extensions/v2/")
Now = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


def _make_id() -> str:
    return uuid.uuid4().hex


def create_app(catalog: Catalog, users: Users, *, now: Now = _now, make_id: Callable[[], str] = _make_id) -> ASGIApp:
    """Return the application over an open catalogue, which the caller closes after it has ended."""
    threads = Threads()
    upstreams = Upstreams(catalog.settings)
    registry = Registry(catalog, Gate(users, threads), threads, now, make_id, Fetches(catalog, threads, upstreams))
    caches = Caches(upstreams)
    distribution, others = DistributionApi(registry, caches), _create_others(registry, caches, upstreams)

    async def entrepot(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"].startswith(_DISTRIBUTION) or scope["path"] == "/v2"):
            await distribution(scope, receive, send)
        else:
            await others(scope, receive, send)

    return entrepot


def _create_others(registry: Registry, caches: Caches, upstreams: Upstreams) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep_uploads(registry))
        try:
            yield
        finally:
            sweeping.cancel()
            await caches.close()
            await registry.fetches.close()
            await upstreams.close()
            registry.threads.close()

    # No documentation pages: FastAPI's load their scripts from another host.
    app = FastAPI(title="Entrepôt", version="1", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.include_router(health_routes(registry))
    app.include_router(management_routes(registry))
    app.include_router(index_routes(registry))
    return app


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
