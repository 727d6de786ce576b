"""What every route of the management API has in common: who asks, what they may, and how errors are told."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from catalog.access.administration import Administration
from catalog.access.policy import NOBODY, Action, Caller
from catalog.audit import Event, Outcome
from oci.errors import EntrepotError, Unsupported
from registry_api.auth.challenges import BASIC
from registry_api.auth.gate import LoginNeeded, address_of
from registry_api.auth.login_checks import address_key
from registry_api.context import Registry
from registry_api.http.bodies import ClientGone, read_whole, whole_body
from registry_api.http.errors import error_response
from registry_api.http.messages import announced_length

_MOST = 1000
Count = Annotated[int, Query(ge=1, le=_MOST, description="How many at most.")]
Last = Annotated[str, Query(max_length=300, description="The last one of the page before.")]


class ErrorOut(BaseModel):
    """One error, as in the registry protocol."""

    code: str
    message: str
    detail: Any = None


class ErrorsOut(BaseModel):
    """What every failed request is answered with."""

    errors: list[ErrorOut]


FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorsOut} for status in (400, 401, 403, 404, 405, 406, 408, 409, 413, 422, 429, 503)
}


LARGEST_BODY = 1024 * 1024
"""Bytes of the largest body that a route of the management API takes."""

_CALLER = "entrepot.caller"
"""Where a request's scope keeps who asks, once that is known."""


class ToldErrors(APIRoute):
    """Routes whose errors are told as the registry protocol does, and whose bodies are not read before it is known who asks."""

    in_turns = True
    """Whether reading requests wait for turns by who asks, so that few of them are answered at a time."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()
        has_body = self.body_field is not None

        async def answer(request: Request) -> Response:
            try:
                if has_body:
                    request = await _admit_body(request)
                if not self.in_turns or request.method != "GET":
                    return await handle(request)
                registry: Registry = request.app.state.registry
                async with registry.readers.turn(registry.asker(await identify(registry, request), request.scope)):
                    return await handle(request)
            except ClientGone:
                return Response(status_code=400)
            except EntrepotError as error:
                return error_response(error, (b"www-authenticate", BASIC))

        return answer


class OwnTurns(ToldErrors):
    """Such routes that bound by themselves how many requests they answer at a time."""

    in_turns = False


async def _admit_body(request: Request) -> Request:
    """Return the request with its body limited; raise Unauthorized before anything of the body is read.

    That nobody in particular may do more than pull is rare, and the rules say so beforehand: FastAPI reads the body before it
    asks what the route depends on.
    """
    registry: Registry = request.app.state.registry
    caller = await identify(registry, request)
    if caller == NOBODY and not registry.gate.lets_anybody_change():
        raise LoginNeeded(f"{request.method} {request.scope['path'][:300]} needs a login")
    raw = await read_whole(request.receive, limit=LARGEST_BODY, announced=announced_length(request.scope))
    return Request(request.scope, whole_body(raw, request.receive))


async def identify(registry: Registry, request: Request) -> Caller:
    """Return who asks, counting the request once; raise Unauthorized or TooManyRequests."""
    known: Caller | None = request.scope.get(_CALLER)
    if known is None:
        known = await registry.gate.identify(request.scope)
        registry.rate.spend(registry.asker(known, request.scope))
        request.scope[_CALLER] = known
    return known


class Asker:
    """Who asks for a route, and what they may."""

    def __init__(self, registry: Registry, caller: Caller, address: str) -> None:
        self.registry, self.caller, self.address = registry, caller, address

    @property
    def key(self) -> str:
        """For whom what they ask costs counts."""
        return self.caller.account or address_key(self.address)

    def check(self, action: Action, name: str) -> None:
        """Raise Unauthorized or Denied; being public is of no help here."""
        self.registry.gate.check(self.caller, action, name, public=False, address=self.address)

    def may(self, action: Action, name: str) -> bool:
        """Whether rules let the asker do something."""
        return self.registry.gate.decide(self.caller, action, name, public=False).allowed

    def administration(self) -> Administration:
        """For administrators; raise Unauthorized or Denied."""
        gate = self.registry.gate
        gate.check_admin(self.caller, self.address, "administration")
        return Administration(
            gate.access, gate.events, actor=self.caller.account, now=self.registry.now, address=self.address
        )

    def record(self, action: str, name: str, **detail: object) -> Event:
        """An audit event of theirs."""
        return Event(self.registry.now(), self.caller.account, action, name, address=self.address, detail=detail)

    def note(
        self, action: str, name: str, *, detail: Mapping[str, object], outcome: Outcome = "done", reason: str = ""
    ) -> None:
        """Have an audit event of theirs written within a second."""
        self.registry.gate.events.note(
            Event(self.registry.now(), self.caller.account, action, name, outcome, reason, self.address, detail)
        )


def asker_of(registry: Registry, *, changes: bool = True) -> Callable[[Request], Awaitable[Asker]]:
    """Who asks, for routes; `changes` False says that what is not a GET changes nothing either."""

    async def ask(request: Request) -> Asker:
        caller = await identify(registry, request)
        if changes and request.method not in {"GET", "HEAD"} and registry.catalog.settings.read_only:
            raise Unsupported("this registry is read-only now")
        await registry.find_distribution("")  # so that what other processes made is known
        return Asker(registry, caller, address_of(request.scope))

    return ask
