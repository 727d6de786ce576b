"""Responses to requests that fail: errors as the specification writes them, and the challenge of a 401."""

import logging

from starlette.types import Message, Scope

from catalog.access.policy import NOBODY
from oci.errors import Denied, EntrepotError, NotFound, RemoteLeftOut, Unsupported
from oci.reference import is_name
from registry_api.auth.access_controller import LoginNeeded, ScopeMissing
from registry_api.auth.challenges import challenge, scopes_for
from registry_api.context import Registry
from registry_api.dispatch.routes import LOOKASIDE_ROOT, ROUTES, UPLOADS, Match, match_path
from registry_api.http.errors import ChildLeftOut, RequestStalled, SignatureUnknown, error_response, row_of
from registry_api.http.exchange import exchange_of
from registry_api.http.messages import RoutedRequest, WholeResponse, find_header, warning_value
from registry_api.v2.atomic_signatures import SUPPORTED

log = logging.getLogger("registry_api")

_HIDDEN = (LoginNeeded, ScopeMissing, Denied, NotFound)
"""Errors that are one answer in the lookaside tree, where clients take a 401 for a failure and a 404 for an unsigned image."""

_WARNED_OF = (ChildLeftOut, RemoteLeftOut)
"""Errors whose message is a warning too."""


def refuse(registry: Registry, scope: Scope, error: EntrepotError) -> WholeResponse:
    """Return the response to an error; failures of ours are logged under a reference that the client sees."""
    if isinstance(error, RequestStalled):
        return error_response(error, (b"connection", "close"))
    if isinstance(error, _HIDDEN) and scope["path"].startswith(LOOKASIDE_ROOT):
        return error_response(SignatureUnknown("no such signature"))
    status = row_of(type(error)).status
    if status == 401 and error.side == "request":
        return error_response(error, (b"www-authenticate", _challenge(registry, scope, error)), SUPPORTED)
    if isinstance(error, _WARNED_OF):
        return error_response(error, (b"warning", warning_value(error.message)))
    if status < 500:
        return error_response(error)
    reference = exchange_of(scope).named(scope, registry.make_id)
    log.error("failed reference=%s method=%s path=%s error=%s", reference, scope["method"], scope["path"], error)
    return error_response(error, reference=reference)


def refuse_method(scope: Scope, match: Match) -> WholeResponse:
    """Return the response to a method that the path does not take."""
    allowed = ", ".join(sorted(ROUTES[match.pattern]))
    error = Unsupported(f"{match.pattern} takes {allowed}, not {scope['method'][:50]}")
    return error_response(error, (b"allow", allowed))


def parameter_of(scope: Scope, name: str) -> str | None:
    """Return the first value of a query parameter."""
    return RoutedRequest("", "", "", NOBODY, scope, _no_body).parameter(name)


async def _no_body() -> Message:
    return {"type": "http.disconnect"}


def _challenge(registry: Registry, scope: Scope, error: EntrepotError) -> str:
    match = match_path(scope["path"])
    action = ROUTES[match.pattern][scope["method"]].action
    mounts_from = None
    if match.pattern == UPLOADS and b"from=" in scope["query_string"]:
        source = parameter_of(scope, "from")
        mounts_from = source if source and is_name(source) else None
    scopes = scopes_for(action, match.name if is_name(match.name) else "", mounts_from)
    code = "insufficient_scope" if isinstance(error, ScopeMissing) else ""
    if not code and (find_header(scope, b"authorization") or b"").lower().startswith(b"bearer"):
        code = "insufficient_scope" if isinstance(error, LoginNeeded) else "invalid_token"
    base = None if registry.catalog.settings.auth == "basic" else registry.hosts.base_url(scope)
    return challenge(base, scopes, error=code)
