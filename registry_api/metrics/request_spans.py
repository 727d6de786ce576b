"""The span of each request, where traces are wanted: by its route, without its path, query and login."""

from starlette.types import Scope

from oci.traces.spans import TraceSpan, Tracing
from registry_api.http.exchange import Exchange
from registry_api.http.messages import find_header

_LONGEST = 200
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def begin_span(tracing: Tracing, scope: Scope, exchange: Exchange, *, is_trusted: bool) -> TraceSpan:
    """Begin the span of a request, whose trace the access log then names."""
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    claimed = find_header(scope, b"traceparent") or b""
    traceparent = claimed.decode("latin-1") if len(claimed) <= _LONGEST else ""
    attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
    span = tracing.serve(attributes, traceparent, is_trusted=is_trusted)
    exchange.trace_id = span.trace_id
    return span


def end_span(span: TraceSpan, scope: Scope, exchange: Exchange) -> None:
    """End it by what is known of the response. Source: OpenTelemetry's conventions for HTTP servers."""
    if exchange.route:
        method = scope["method"] if scope["method"] in _METHODS else "HTTP"
        span.rename(f"{method} {exchange.route}")
        span.set("http.route", exchange.route)
    span.set("http.response.status_code", exchange.status)
    span.set("http.response.body.size", exchange.sent)
    if exchange.status >= 500:
        span.fail(str(exchange.status))
    span.end()
