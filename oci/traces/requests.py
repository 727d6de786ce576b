"""Spans of requests to other registries: named by their kind, without names of content, queries and logins."""

from collections.abc import Awaitable, Callable

import httpx

from oci.traces.spans import Tracing

_KINDS = ("/blobs/uploads/", "/manifests/", "/blobs/", "/tags/list", "/referrers/")
_TEMPLATES = {"/tags/list": "/v2/{name}/tags/list", "/blobs/uploads/": "/v2/{name}/blobs/uploads/{session}"}


def request_template(path: str) -> str:
    """Return the kind of a path as a template; empty for one that the registry protocol does not have."""
    if path.rstrip("/") == "/v2":
        return "/v2/"
    if not path.startswith("/v2/"):
        return ""
    kind = next((kind for kind in _KINDS if kind in f"{path}/"), "")
    return _TEMPLATES.get(kind) or (f"/v2/{{name}}{kind}{{reference}}" if kind else "")


async def send_traced(
    tracing: Tracing, send: Callable[[httpx.Request], Awaitable[httpx.Response]], request: httpx.Request
) -> httpx.Response:
    """Send a request within a span that ends with the head of the response; the other side may add its own to the trace."""
    template = request_template(request.url.path)
    attributes: dict[str, str | int] = {"http.request.method": request.method, "server.address": request.url.host}
    if request.url.port is not None:
        attributes["server.port"] = request.url.port
    if template:
        attributes["url.template"] = template
    span = tracing.start(f"{request.method} {template}".strip(), "client", attributes)
    try:
        if template:  # a place that a registry sends us to may sign the headers that it wants
            request.headers.update(tracing.headers(span))
        response = await send(request)
        span.set("http.response.status_code", response.status_code)
        if response.status_code >= 400:
            span.fail(str(response.status_code))
    except BaseException as error:
        span.fail(type(error).__name__)
        raise
    finally:
        span.end()
    return response
