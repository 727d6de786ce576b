"""`/metrics`: for Prometheus with the token of the settings, for administrators, and for anybody where the settings say so."""

import hmac

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr

from catalog.access.policy import NOBODY
from registry_api.auth.access_controller import address_of
from registry_api.context import CurrentRegistry
from registry_api.http.messages import find_header
from registry_api.management.dependencies import FAILURES, UnqueuedRoute, identify
from registry_api.metrics.scrape import Scrape

router = APIRouter(tags=["metrics"], route_class=UnqueuedRoute, responses={401: FAILURES[401], 403: FAILURES[403]})


@router.get("/metrics", response_class=Response)
async def get_metrics(request: Request, registry: CurrentRegistry) -> Response:
    """Return the metrics in Prometheus's text format."""
    settings = registry.catalog.settings
    if settings.metrics_public or _has_token(request, settings.metrics_token):
        cost_key = registry.cost_key(NOBODY, request.scope)
        registry.rate.spend(cost_key)
    else:
        caller = await identify(registry, request)
        registry.access.check_admin(caller, address_of(request.scope), "metrics")
        cost_key = registry.cost_key(caller, request.scope)
    scrape: Scrape = request.app.state.scrape
    async with registry.readers.turn(cost_key):
        body, media_type = await scrape.page()
    return Response(body, media_type=media_type)


def _has_token(request: Request, token: SecretStr | None) -> bool:
    """Return whether a request shows the token that opens the metrics alone."""
    given = find_header(request.scope, b"authorization")
    if token is None or not token.get_secret_value() or given is None:
        return False
    return hmac.compare_digest(given, b"Bearer " + token.get_secret_value().encode())
