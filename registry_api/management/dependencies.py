"""Dependencies that every route of the management API shares: identity, rights, limits, and errors in the protocol's form."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import Scope

from catalog.access.administration import Administration
from catalog.access.policy import NOBODY, Action, Caller
from catalog.audit import Event, Outcome
from catalog.catalog import Catalog
from oci.errors import EntrepotError, InvalidInput, Unsupported
from oci.unicode import is_fit
from registry_api.auth.access_controller import LoginNeeded, address_of
from registry_api.auth.challenges import BASIC
from registry_api.auth.login_checks import address_key
from registry_api.context import Registry, registry_of
from registry_api.http.bodies import ClientGone, read_whole, whole_body
from registry_api.http.exchange import exchange_of
from registry_api.http.fastapi_errors import fastapi_error_response
from registry_api.http.messages import announced_length
from registry_api.http.threads import Threads

_MOST = 1000
Count = Annotated[int, Query(ge=1, le=_MOST, description="How many at most.")]
Last = Annotated[str, Query(max_length=300, description="The last item of the page before.")]


class ErrorOut(BaseModel):
    """One error, as in the registry protocol."""

    code: str
    message: str
    detail: Any = None


class ErrorsOut(BaseModel):
    """The response to every failed request."""

    errors: list[ErrorOut]


FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorsOut} for status in (400, 401, 403, 404, 405, 406, 408, 409, 413, 422, 429, 503)
}


LARGEST_BODY = 1024 * 1024
"""Bytes of the largest body that a route of the management API takes."""

_SUSPECT = (b"\\u", b"\xed", b"\0")
"""Bytes without which no JSON has unfit text: escapes, surrogates as UTF-8, and UTF-16."""

_CALLER = "entrepot.caller"
"""The key of a request's scope that keeps the caller, once known."""


class ManagementRoute(APIRoute):
    """Routes that answer errors in the registry protocol's form, and read no body before the caller is known."""

    takes_turns = True
    """Whether reading requests wait for turns by caller, so that few of them are answered at a time."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()
        has_body = self.body_field is not None

        async def answer(request: Request) -> Response:
            try:
                check_url(request.scope)
                if has_body:
                    request = await _admit_body(request)
                if not self.takes_turns or request.method != "GET":
                    return await handle(request)
                registry = registry_of(request)
                cost_key = registry.cost_key(await identify(registry, request), request.scope)
                async with registry.readers.turn(cost_key):
                    return await handle(request)
            except ClientGone:
                return Response(status_code=400)
            except EntrepotError as error:
                return fastapi_error_response(error, (b"www-authenticate", BASIC))

        return answer


class UnqueuedRoute(ManagementRoute):
    """Routes that bound by themselves how many requests they answer at a time."""

    takes_turns = False


async def _admit_body(request: Request) -> Request:
    """Return the request with its body limited; raise Unauthorized before anything of the body is read.

    FastAPI reads the body before it runs the route's dependencies. Rules rarely let anonymous callers do more than pull, so an
    anonymous body is refused beforehand.
    """
    registry = registry_of(request)
    caller = await identify(registry, request)
    if caller == NOBODY and not registry.access.allows_anonymous_changes():
        raise LoginNeeded(f"{request.method} {request.scope['path'][:300]} needs a login")
    raw = await read_whole(request.receive, limit=LARGEST_BODY, announced=announced_length(request.scope))
    check_body(raw)
    return Request(request.scope, whole_body(raw, request.receive))


def check_url(scope: Scope) -> None:
    """Raise InvalidInput for a path or query with a NUL, which databases cannot hold; other bytes were made fit already."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"] or b"\0" in scope["query_string"]:
        raise InvalidInput("the URL holds a NUL; send it without")


def check_body(raw: bytes) -> None:
    """Raise InvalidInput for JSON whose texts hold a NUL or half a surrogate pair; leave what is no JSON to others."""
    if not any(mark in raw for mark in _SUSPECT):
        return
    try:
        left = [json.loads(raw)]
    except (ValueError, RecursionError):
        return
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str) and not is_fit(value):
            # It may be a password, so the message does not repeat it.
            raise InvalidInput("the body has a text that holds a NUL or half a surrogate pair; send it without")


async def identify(registry: Registry, request: Request) -> Caller:
    """Return the caller, counting the request once; raise Unauthorized or TooManyRequests."""
    known: Caller | None = request.scope.get(_CALLER)
    if known is None:
        known = await registry.access.identify(request.scope)
        registry.rate.spend(registry.cost_key(known, request.scope))
        request.scope[_CALLER] = known
        exchange_of(request.scope).account = known.account
    return known


class RequestContext:
    """One management request: the registry, the caller and their address, and what the caller may do."""

    def __init__(self, registry: Registry, caller: Caller, address: str) -> None:
        self.registry, self.caller, self.address = registry, caller, address

    @property
    def catalog(self) -> Catalog:
        """Return the registry's catalogue."""
        return self.registry.catalog

    @property
    def threads(self) -> Threads:
        """Return the registry's threads."""
        return self.registry.threads

    @property
    def account(self) -> str:
        """Return the caller's account, empty for an anonymous one."""
        return self.caller.account

    @property
    def cost_key(self) -> str:
        """Return the identity that the request's cost counts for: the account, else the address."""
        return self.caller.account or address_key(self.address)

    def check(self, action: Action, name: str) -> None:
        """Raise Unauthorized or Denied; that a path is public is no help here."""
        self.registry.access.check(self.caller, action, name, public=False, address=self.address)

    def may(self, action: Action, name: str) -> bool:
        """Return whether rules allow the caller an action on a name."""
        return self.registry.access.decide(self.caller, action, name, public=False).allowed

    def check_administrator(self) -> None:
        """Raise Unauthorized or Denied unless the caller administers everything."""
        self.registry.access.check_admin(self.caller, self.address, "administration")

    def administration(self) -> Administration:
        """Return the administration of accounts, in the caller's name; raise Unauthorized or Denied."""
        self.check_administrator()
        gate = self.registry.access
        return Administration(
            gate.store, gate.events, actor=self.caller.account, now=self.registry.now, address=self.address
        )

    def record(self, action: str, name: str, **detail: object) -> Event:
        """Return an audit event of the caller's."""
        return Event(self.registry.now(), self.caller.account, action, name, address=self.address, detail=detail)

    def note(
        self, action: str, name: str, *, detail: Mapping[str, object], outcome: Outcome = "done", reason: str = ""
    ) -> None:
        """Queue an audit event of the caller's; it is written within a second."""
        self.registry.access.events.note(
            Event(self.registry.now(), self.caller.account, action, name, outcome, reason, self.address, detail)
        )


async def request_context(request: Request) -> RequestContext:
    """Return the context of a request; raise Unsupported for one that is not a GET while the registry is read-only."""
    registry = registry_of(request)
    caller = await identify(registry, request)
    if request.method not in {"GET", "HEAD"} and registry.catalog.settings.read_only:
        raise Unsupported("this registry is read-only now")
    return await _make_context(registry, request, caller)


async def reading_context(request: Request) -> RequestContext:
    """Return the context of a request that changes nothing, whatever its method."""
    registry = registry_of(request)
    return await _make_context(registry, request, await identify(registry, request))


async def _make_context(registry: Registry, request: Request, caller: Caller) -> RequestContext:
    await registry.find_distribution("")  # so that changes by other processes are known
    return RequestContext(registry, caller, address_of(request.scope))


Context = Annotated[RequestContext, Depends(request_context)]
ReadingContext = Annotated[RequestContext, Depends(reading_context)]
