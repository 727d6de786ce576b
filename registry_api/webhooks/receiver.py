"""`POST /api/v1/hooks/{name}`: an upstream tells of pushes. What it tells is durable before it is answered 202."""

import asyncio
import hmac
import logging

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.types import Scope

from catalog.access.logins import hash_secret
from catalog.audit import Event
from catalog.webhooks.cloud_events import SIGNATURE, sign
from catalog.webhooks.flow_runs import is_wanted
from catalog.webhooks.queue import Taken
from catalog.webhooks.records import Hook
from oci.errors import RecordUnknown, Unauthorized
from registry_api.auth.gate import address_of, parse_authorization
from registry_api.auth.login_checks import address_key
from registry_api.auth.rate_limits import RateLimit
from registry_api.context import Registry
from registry_api.http.bodies import ClientGone, read_whole
from registry_api.http.errors import RequestStalled
from registry_api.http.fair_queue import FairQueue
from registry_api.http.messages import announced_length, find_header
from registry_api.management.dependencies import ToldErrors
from registry_api.webhooks.context import Eventing
from registry_api.webhooks.payloads import parse_events

log = logging.getLogger("registry_api")
_LARGEST = 4 * 1024 * 1024
_RATE = 50.0
"""Requests a second of one address; bursts of ten seconds' worth pass."""
_HEADERS = (b"x-gitlab-token", b"x-hook-token")
_SIGNATURE = SIGNATURE.lower().encode()
_DELIVERY_ID = b"x-github-delivery"
_UNPROVEN = 4
"""Signed bodies of senders not known yet that are in memory at a time."""
_UNPROVEN_WITHIN = 10.0
"""Seconds such a body may take, so that slow senders do not keep others waiting."""
_NOBODYS = "of a hook that is not there"


class TakenOut(BaseModel):
    """What became of the events: those that wait now, those known already, those that the hook is not for."""

    accepted: int
    duplicates: int
    ignored: int


def hook_routes(registry: Registry, eventing: Eventing) -> APIRouter:
    """Where upstreams tell us; who may is in each hook."""
    router = APIRouter(prefix="/api/v1", tags=["events"], route_class=ToldErrors)
    rate, unproven = RateLimit(_RATE), FairQueue(_UNPROVEN, waiting=8)

    # Not in the description of the management API: what it takes is said by the senders' own.
    @router.post("/hooks/{name}", status_code=202, include_in_schema=False, response_model=TakenOut)
    async def take(name: str, request: Request) -> TakenOut | Response:
        """Take what an upstream tells."""
        scope, now = request.scope, registry.now()
        rate.spend(address_key(address_of(scope)))
        token = request.query_params.get("token", "")
        scope["query_string"] = b""  # what stands there may be the secret, and the access log shows it
        hook = eventing.records.hooks.get(name)
        run = registry.threads.run
        try:
            raw = await _read_proven(request, hook, token, unproven)
        except ClientGone:
            return Response(status_code=400)
        if raw is None or hook is None:
            known = hook.name if hook else ""
            event = Event(now, "", "hook", known, "refused", reason="wrong secret", address=address_of(scope))
            registry.gate.events.note(event)
            raise RecordUnknown("there is no such hook, or its secret is another")
        delivery_id = (find_header(scope, _DELIVERY_ID) or b"").decode("latin-1")
        told = await run(parse_events, hook.kind, raw, delivery_id=delivery_id)
        wanted = [one for one in told if is_wanted(hook, one)]
        taken = await run(eventing.queue.take, name, wanted, now.timestamp())
        _tell_dropped(registry, name, taken)
        return TakenOut(accepted=taken.kept, duplicates=taken.known, ignored=len(told) - len(wanted))

    return router


async def _read_proven(request: Request, hook: Hook | None, token: str, unproven: FairQueue) -> bytes | None:
    """The body of a request that has the hook's secret, None for one that has not.

    Without a signature nothing of the body is read before the secret was shown. A signed body must be read to be judged: those
    of nobody known are few at a time. Which of the two it is depends on the request alone, not on whether there is such a hook.
    """
    scope, announced = request.scope, announced_length(request.scope)
    if has_shown(hook, scope, token):
        return await read_whole(request.receive, limit=_LARGEST, announced=announced)
    signature = find_header(scope, _SIGNATURE)
    if signature is None:
        return None
    async with unproven.turn(address_key(address_of(scope))):
        try:
            async with asyncio.timeout(_UNPROVEN_WITHIN):
                raw = await read_whole(request.receive, limit=_LARGEST, announced=announced)
        except TimeoutError:
            raise RequestStalled(f"the body did not come within {_UNPROVEN_WITHIN:g} seconds") from None
        return raw if await asyncio.to_thread(has_signed, hook, signature, raw) else None


def has_shown(hook: Hook | None, scope: Scope, token: str) -> bool:
    """Whether a request shows the secret of a hook that wants it shown; takes as long for a hook that is not there."""
    kept = hook.secret if hook is not None and hook.proof != "hmac" else _NOBODYS
    secret = presented_secret(scope) or (token if hook is not None and hook.proof == "url" else "")
    is_shown = hmac.compare_digest(hash_secret(secret).encode(), kept.encode())
    return is_shown and kept != _NOBODYS


def has_signed(hook: Hook | None, signature: bytes, raw: bytes) -> bool:
    """Whether a body is signed with the secret of a hook that wants it so; takes as long for a hook that is not there."""
    kept = hook.secret if hook is not None and hook.proof == "hmac" else _NOBODYS
    is_signed = hmac.compare_digest(signature.strip().lower(), sign(raw, kept.encode()).encode())
    return is_signed and kept != _NOBODYS


def presented_secret(scope: Scope) -> str:
    """The secret in a header: a bearer token, the password of a Basic login, or the bare header as Harbor sends it."""
    for name in _HEADERS:
        if found := find_header(scope, name):
            return found.strip().decode("latin-1")
    header = find_header(scope, b"authorization") or b""
    try:
        credentials = parse_authorization(header)
    except Unauthorized:
        return header.strip().decode("latin-1")
    return credentials.secret if credentials else ""


def _tell_dropped(registry: Registry, name: str, taken: Taken) -> None:
    if taken.dropped:
        log.error("events of hooks were dropped, too many wait hook=%s dropped=%d", name, taken.dropped)
        reason = f"{taken.dropped} of the oldest events were dropped: too many wait for Prefect"
        registry.gate.events.note(Event(registry.now(), f"hook:{name}", "drop-events", name, reason=reason))
