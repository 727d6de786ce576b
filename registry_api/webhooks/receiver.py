"""`POST /api/v1/hooks/{name}`: the receiver of upstreams' events. They are durable before the response 202."""

import asyncio
import hmac
import logging

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.types import Scope

from catalog.access.logins import hash_secret
from catalog.audit import Event
from catalog.webhooks.cloud_events import SIGNATURE, sign_body
from catalog.webhooks.flow_runs import matches_event
from catalog.webhooks.queue import Enqueued
from catalog.webhooks.records import Hook
from oci.errors import RecordUnknown, Unauthorized
from registry_api.auth.access_controller import address_of, parse_authorization
from registry_api.auth.login_checks import address_key
from registry_api.context import CurrentRegistry, Registry
from registry_api.http.bodies import ClientGone, read_whole
from registry_api.http.errors import RequestStalled
from registry_api.http.fair_queue import FairQueue
from registry_api.http.messages import announced_length, find_header
from registry_api.management.dependencies import ManagementRoute
from registry_api.webhooks.context import CurrentWebhooks
from registry_api.webhooks.payloads import parse_events

log = logging.getLogger("registry_api")
_LARGEST = 4 * 1024 * 1024
_HEADERS = (b"x-gitlab-token", b"x-hook-token")
_SIGNATURE = SIGNATURE.lower().encode()
_DELIVERY_ID = b"x-github-delivery"
_UNPROVEN_WITHIN = 10.0
"""Seconds that the signed body of an unknown sender may take, so that slow senders do not block others."""
_NO_HOOK = "of a hook that is not there"


class ReceivedOut(BaseModel):
    """Counts of events: queued, known already, and not selected by the hook."""

    accepted: int
    duplicates: int
    ignored: int


router = APIRouter(prefix="/api/v1", tags=["events"], route_class=ManagementRoute)


# Not in the description of the management API: the senders' documentation describes the bodies.
@router.post("/hooks/{name}", status_code=202, include_in_schema=False, response_model=ReceivedOut)
async def receive_events(
    name: str, request: Request, registry: CurrentRegistry, webhooks: CurrentWebhooks
) -> ReceivedOut | Response:
    """Receive the events that an upstream sends."""
    scope, now = request.scope, registry.now()
    webhooks.rate.spend(address_key(address_of(scope)))
    token = request.query_params.get("token", "")
    scope["query_string"] = b""  # it may contain the secret, and the access log shows it
    hook = webhooks.records.hooks.get(name)
    try:
        raw = await _read_proven(request, hook, token, webhooks.unproven)
    except ClientGone:
        return Response(status_code=400)
    if raw is None or hook is None:
        known = hook.name if hook else ""
        event = Event(now, "", "hook", known, "refused", reason="wrong secret", address=address_of(scope))
        registry.access.events.note(event)
        raise RecordUnknown("no such hook, or wrong secret")
    delivery_id = (find_header(scope, _DELIVERY_ID) or b"").decode("latin-1")
    events = await registry.threads.run(parse_events, hook.kind, raw, delivery_id=delivery_id)
    selected = [event for event in events if matches_event(hook, event)]
    taken = await registry.threads.run(webhooks.queue.enqueue, name, selected, now.timestamp())
    _report_dropped(registry, name, taken)
    return ReceivedOut(accepted=taken.kept, duplicates=taken.known, ignored=len(events) - len(selected))


async def _read_proven(request: Request, hook: Hook | None, token: str, unproven: FairQueue) -> bytes | None:
    """Return the body of a request that proves the hook's secret, None for one that does not.

    Without a signature, the body is read only after the secret was shown. A signed body must be read to be verified: few of
    these at a time. Which of the two applies depends on the request alone, not on the existence of the hook.
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
            raise RequestStalled(f"the body did not arrive within {_UNPROVEN_WITHIN:g} seconds") from None
        return raw if await asyncio.to_thread(has_signed, hook, signature, raw) else None


def has_shown(hook: Hook | None, scope: Scope, token: str) -> bool:
    """Return whether a request shows the secret of a hook without signatures; takes as long for an unknown hook."""
    expected = hook.secret if hook is not None and hook.proof != "hmac" else _NO_HOOK
    secret = presented_secret(scope) or (token if hook is not None and hook.proof == "url" else "")
    is_shown = hmac.compare_digest(hash_secret(secret).encode(), expected.encode())
    return is_shown and expected != _NO_HOOK


def has_signed(hook: Hook | None, signature: bytes, raw: bytes) -> bool:
    """Return whether a body is signed with the secret of a hook with signatures; takes as long for an unknown hook."""
    expected = hook.secret if hook is not None and hook.proof == "hmac" else _NO_HOOK
    is_signed = hmac.compare_digest(signature.strip().lower(), sign_body(raw, expected.encode()).encode())
    return is_signed and expected != _NO_HOOK


def presented_secret(scope: Scope) -> str:
    """Return the secret in a header: a bearer token, the password of a Basic login, or the bare header as Harbor sends it."""
    for name in _HEADERS:
        if value := find_header(scope, name):
            return value.strip().decode("latin-1")
    header = find_header(scope, b"authorization") or b""
    try:
        credentials = parse_authorization(header)
    except Unauthorized:
        return header.strip().decode("latin-1")
    return credentials.secret if credentials else ""


def _report_dropped(registry: Registry, name: str, taken: Enqueued) -> None:
    if taken.dropped:
        log.error("events of hooks were dropped, too many wait hook=%s dropped=%d", name, taken.dropped)
        reason = f"{taken.dropped} of the oldest events were dropped: too many wait for Prefect"
        registry.access.events.note(Event(registry.now(), f"hook:{name}", "drop-events", name, reason=reason))
