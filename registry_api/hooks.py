"""`POST /api/v1/hooks/{name}`: an upstream tells of pushes. What it tells is durable before it is answered 202."""

import hmac
import logging

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.types import Scope

from catalog.cloud_events import SIGNATURE, sign
from catalog.event_queue import Taken
from catalog.event_records import Hook
from catalog.events import Event
from catalog.hook_runs import is_wanted
from catalog.logins import hash_secret
from oci.errors import InvalidInput, RecordUnknown, Unauthorized
from registry_api.access import address_of, parse_authorization
from registry_api.asking import ToldErrors
from registry_api.bodies import ClientGone, read_whole
from registry_api.eventing import Eventing
from registry_api.hook_formats import parse_events
from registry_api.limits import RateLimit
from registry_api.messages import find_header
from registry_api.registry import Registry

log = logging.getLogger("registry_api")
_LARGEST = 4 * 1024 * 1024
_RATE = 50.0
"""Requests a second of one address; bursts of ten seconds' worth pass."""
_HEADERS = (b"x-gitlab-token", b"x-hook-token")
_SIGNATURE = SIGNATURE.lower().encode()
_DELIVERY_ID = b"x-github-delivery"
_NOBODYS = "of a hook that is not there"


class TakenOut(BaseModel):
    """What became of the events: those that wait now, those known already, those that the hook is not for."""

    accepted: int
    duplicates: int
    ignored: int


def hook_routes(registry: Registry, eventing: Eventing) -> APIRouter:
    """Where upstreams tell us; who may is in each hook."""
    router = APIRouter(prefix="/api/v1", tags=["events"], route_class=ToldErrors)
    rate = RateLimit(_RATE)

    # Not in the description of the management API: what it takes is said by the senders' own.
    @router.post("/hooks/{name}", status_code=202, include_in_schema=False, response_model=TakenOut)
    async def take(name: str, request: Request) -> TakenOut | Response:
        """Take what an upstream tells."""
        scope, now = request.scope, registry.now()
        rate.spend(address_of(scope))
        token = request.query_params.get("token", "")
        scope["query_string"] = b""  # what stands there may be the secret, and the access log shows it
        try:
            raw = await read_whole(request.receive, limit=_LARGEST, announced=_announced(scope))
        except ClientGone:
            return Response(status_code=400)
        hook = eventing.records.hooks.get(name)
        run = registry.threads.run
        if not await run(is_proven, hook, scope, raw, token) or hook is None:
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


def is_proven(hook: Hook | None, scope: Scope, raw: bytes, token: str) -> bool:
    """Whether a request has the hook's secret; takes as long for a hook that is not there."""
    kept = hook.secret if hook is not None else _NOBODYS
    signature = (find_header(scope, _SIGNATURE) or b"").strip().lower()
    is_signed = hmac.compare_digest(signature, sign(raw, kept.encode()).encode())
    secret = presented_secret(scope) or (token if hook is not None and hook.proof == "url" else "")
    is_shown = hmac.compare_digest(hash_secret(secret).encode(), kept.encode())
    return hook is not None and (is_signed if hook.proof == "hmac" else is_shown)


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


def _announced(scope: Scope) -> int | None:
    text = find_header(scope, b"content-length")
    if text is None:
        return None
    if not text.isdigit():
        raise InvalidInput("Content-Length is not a number")
    return int(text)


def _tell_dropped(registry: Registry, name: str, taken: Taken) -> None:
    if taken.dropped:
        log.error("events of hooks were dropped, too many wait hook=%s dropped=%d", name, taken.dropped)
        reason = f"{taken.dropped} of the oldest events were dropped: too many wait for Prefect"
        registry.gate.events.note(Event(registry.now(), f"hook:{name}", "drop-events", name, reason=reason))
