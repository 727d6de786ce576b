"""Which requests our Prefect server takes: those sent to its own address, by no web page but its own.

A browser runs other people's pages beside ours. Prefect itself looks neither at Host (a name of theirs that is made to point to
loopback reaches it: DNS rebinding) nor at Origin (their page may post forms and open web sockets).
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OWN_ALONE = (
    b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    b"frame-ancestors 'none'"
)
"""Prefect's pages load nothing from other hosts and send nothing there, whatever a table or a report of a run says."""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def own_hosts(port: int) -> frozenset[str]:
    """Return what Host may say to a server on this port of loopback."""
    return frozenset(f"{host}:{port}" for host in _LOOPBACK) | (frozenset(_LOOPBACK) if port == 80 else frozenset())


def own_origins(port: int) -> tuple[str, ...]:
    """Return what pages may call that server, as browsers write it in Origin."""
    return tuple(sorted(f"http://{host}" for host in own_hosts(port)))


def refusal(headers: Iterable[tuple[bytes, bytes]], port: int) -> str:
    """Return why a request with these headers is refused; empty when it is not."""
    given = [(name.lower(), value.decode("latin-1").strip().lower()) for name, value in headers]
    hosts = [value for name, value in given if name == b"host"]
    if len(hosts) != 1 or hosts[0] not in own_hosts(port):
        return "this server is reached by its own address alone"
    if any(name == b"origin" and value not in own_origins(port) for name, value in given):
        return "pages of other origins may not call this server"
    return ""


def own_alone(send: Send) -> Send:
    """Return the sending of an answer whose pages may use this server alone."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in headers):
                message = {**message, "headers": [*headers, (b"content-security-policy", _OWN_ALONE)]}
        await send(message)

    return sent


class Guard:
    """Passes on what may come in, and answers the rest with 403; a web socket is closed before it is accepted."""

    def __init__(self, app: App, port: int) -> None:
        self._app, self._port = app, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] not in {"http", "websocket"} or not (why := refusal(scope["headers"], self._port)):
            await self._app(scope, receive, own_alone(send) if scope["type"] == "http" else send)
        elif scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008, "reason": why})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": f"{why}\n".encode()})
