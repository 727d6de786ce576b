"""Logging in at an OpenID Connect issuer: the way there, and the way back with a code.

1. The browser gets a cookie with what it must show in the end, and is sent to the issuer.
2. It comes back with a code and the state. Both must be of a login that this browser has begun; a state counts once.
3. The code is exchanged for an identity token, with the verifier that only this browser has.
4. The token must be the issuer's, for this client and this login. The trusts of CI tokens say which account it is.
"""

import hmac
import logging
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from catalog.access.bearer_tokens import Subject
from oci.errors import EntrepotError, InvalidInput, RemoteUnavailable, TooManyRequests, Unauthorized
from registry_api.auth.code_flow import CALLBACK, CodeFlow, make_login_value
from registry_api.auth.login_checks import address_key
from registry_api.http.errors import RouteUnknown, row_of
from registry_api.pages.framework.own_forms import is_cross_site
from registry_api.pages.framework.responses import SECURITY_HEADERS
from registry_api.pages.framework.sessions import LOGIN_WITHIN, LoginState
from registry_api.pages.framework.visits import CurrentVisit, UnqueuedPageRoute, Visit
from registry_api.pages.logins.by_password import begin_session, checked_next, policy_with_key, show_login_page

log = logging.getLogger("registry_api")
_BEGIN_AGAIN = "this login was begun in another browser, or took too long; begin again"
_ERROR = re.compile(r"[a-z_]{1,40}")

router = APIRouter(route_class=UnqueuedPageRoute, include_in_schema=False)
Text = Annotated[str, Query(max_length=4096)]


@router.get("/login/oidc")
async def begin_issuer_login(
    request: Request,
    visit: CurrentVisit,
    next: Text = "/",  # noqa: A002  # the parameter's name in the URL
) -> Response:
    """Send the browser to the issuer; from a page of another site show the form first."""
    flow = _flow(visit)
    if is_cross_site(request):
        return await show_login_page(visit, next)
    try:
        flow.spend(address_key(visit.address))
        endpoints = await flow.endpoints()
    except (TooManyRequests, RemoteUnavailable) as error:
        return await _refuse(visit, flow, next, error)
    now = visit.registry.now().timestamp()
    login = LoginState(
        make_login_value(), make_login_value(), make_login_value(), checked_next(next), now + LOGIN_WITHIN
    )
    url = flow.authorization_url(endpoints, state=login.state, nonce=login.nonce, verifier=login.verifier)
    response = Response(status_code=303, headers={**SECURITY_HEADERS, "location": url, "cache-control": "no-store"})
    policy = await policy_with_key(visit.registry)
    visit.site.sessions.begin_login(response, request.scope, policy, login)
    return response


@router.get(CALLBACK)
async def end_issuer_login(
    request: Request,
    visit: CurrentVisit,
    code: Text = "",
    state: Text = "",
    error: Text = "",
    iss: Text = "",
) -> Response:
    """Begin a session for who comes back from the issuer."""
    flow, scope = _flow(visit), request.scope
    scope["query_string"] = b""  # the access log shows it, and a code is a secret for a while
    sessions, policy = visit.site.sessions, visit.registry.access.store.policy
    login = sessions.read_login(scope, policy, visit.registry.now())
    next_page = login.next if login else "/"
    try:
        if login is None or not hmac.compare_digest(login.state.encode(), state.encode()):
            raise InvalidInput(_BEGIN_AGAIN)
        subject = await _log_in(visit, flow, login, code, error, iss)
    except (InvalidInput, Unauthorized, TooManyRequests, RemoteUnavailable) as failure:
        response = await _refuse(visit, flow, next_page, failure)
    else:
        response = await begin_session(visit, subject, next_page)
    sessions.end_login(response, scope)
    return response


def _flow(visit: Visit) -> CodeFlow:
    flow = visit.site.code_flow
    if flow is None:
        raise RouteUnknown("/login/oidc")
    return flow


async def _log_in(visit: Visit, flow: CodeFlow, login: LoginState, code: str, error: str, iss: str) -> Subject:
    """Return whom the issuer's response stands for; raise InvalidInput, Unauthorized, TooManyRequests or RemoteUnavailable."""
    if not flow.use_once(login.state):
        raise InvalidInput(_BEGIN_AGAIN)
    endpoints = await flow.endpoints()
    if iss not in ({flow.issuer} if endpoints.names_itself else {flow.issuer, ""}):
        raise InvalidInput("the response is of another issuer; begin again")
    if error or not code:
        shown = error if _ERROR.fullmatch(error) else "no code came"
        raise Unauthorized(f"the issuer did not log you in: {shown}")
    flow.spend(address_key(visit.address))
    token = await flow.exchange(code, login.verifier, cost_key=address_key(visit.address))
    return await visit.registry.access.log_in_by_issuer(token, flow.wanted(login.nonce), visit.address)


async def _refuse(visit: Visit, flow: CodeFlow, next: str, error: EntrepotError) -> Response:  # noqa: A002
    """Return the login page with what went wrong; what the issuer's server said is for the log."""
    if isinstance(error, RemoteUnavailable):
        log.warning("a login at the issuer failed error=%s", error)
        error = RemoteUnavailable(f"{flow.host} does not answer; try again in a moment, or log in by a password")
    return await show_login_page(visit, next, error, status=row_of(type(error)).status)
