"""One serving process: its socket, its start and its end."""

import asyncio
import logging
import os
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from catalog.catalog import open_catalog
from catalog.settings import Settings
from oci.errors import LocalError, SettingsInvalid
from oci.traces.start import start_tracing, stop_tracing
from registry_api.app import Application, create_app
from registry_api.connections.connection import Connection, LeavingState
from registry_api.server.allocator import bound_arenas

log = logging.getLogger("registry_api")

_STOP_WITHIN = 3
"""Seconds that requests under way get to end when the server is told to stop."""

_LEAVES_WITHIN = 1.0
"""Seconds for which open connections are still served before idle ones end."""

_KEEP_ALIVE = 75
"""Seconds an idle connection is kept: longer than Go's clients plan on using one, so that none is closed under a request."""

_BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The options of a serving process."""

    settings: Settings

    @property
    def scheme(self) -> str:
        """`http`, or `https` where there is a certificate."""
        return "https" if self.settings.tls_cert else "http"


def open_listener(settings: Settings) -> socket.socket:
    """Return a listening socket; raise LocalError with the reason when that is not possible."""
    host, port = settings.listen_address
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise LocalError(f"cannot listen on {settings.listen}: {error.strerror}") from error
    return listener


def listening_url(options: ServerOptions, listener: socket.socket) -> str:
    """Return the address to print, with the port that the system chose for port 0."""
    host, port = listener.getsockname()[:2]
    return f"{options.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def run_server(
    options: ServerOptions, listener: socket.socket, announce: Callable[[], None], *, parent: Pipe | None = None
) -> None:
    """Serve until SIGTERM, SIGINT or the end of `parent`; call `announce` when requests are answered.

    Raises CatalogUnusable or SettingsInvalid when it cannot start.
    """
    bound_arenas()
    # uvicorn raises the signal that ended it again when it is done; an ordered stop is a success.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    if fault := start_tracing(os.environ, "entrepot-registry"):
        log.warning("%s", fault)
    with ExitStack() as stack:
        stack.callback(stop_tracing)
        catalog = stack.enter_context(open_catalog(options.settings))
        config = uvicorn_config(create_app(catalog), options.settings)
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise SettingsInvalid(
                f"the certificate {options.settings.tls_cert} or its key {options.settings.tls_key} "
                f"cannot be used: {error}"
            ) from error
        Server(config, announce, parent).run(sockets=[listener])


def uvicorn_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration for our application."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=_connection_class(settings),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_STOP_WITHIN,
        backlog=_BACKLOG,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_ca_certs=str(settings.tls_client_ca) if settings.tls_client_ca else None,
        ssl_cert_reqs=ssl.CERT_OPTIONAL if settings.tls_client_ca else ssl.CERT_NONE,
    )


def _connection_class(settings: Settings) -> type[Connection]:
    if settings.tls_client_ca is None:
        return Connection
    from registry_api.connections.client_certificates import CertifiedConnection  # it loads what reads certificates

    return CertifiedConnection


class Server(uvicorn.Server):
    """uvicorn's server, which ends with its parent, closes connections whose requests do not begin, and leaves in order."""

    def __init__(
        self, config: uvicorn.Config, announce: Callable[[], None] = lambda: None, parent: Pipe | None = None
    ) -> None:
        super().__init__(config)
        self.server_state = self._state = LeavingState()
        self._announce, self._parent = announce, parent

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._parent is not None:
            asyncio.get_running_loop().add_reader(self._parent.fileno(), self._stop)
        if self.started:
            self._announce()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second, as uvicorn calls it; once a second look at connections."""
        if counter % 10 == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.end_if_stalled()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Leave, then end idle connections and wait for the requests under way."""
        await self._leave(sockets or [])
        await super().shutdown(sockets)

    async def _leave(self, listeners: list[socket.socket]) -> None:
        """Have proxies go elsewhere before a connection ends on which they may be sending.

        1. Each response from now on ends its connection.
        2. Take the connections that have come, and refuse others: a proxy that is refused sends nothing here for a while.
        3. Serve those that are open until they have ended, a second at most.
        """
        self._state.is_leaving = True
        if isinstance(self.config.app, Application):
            self.config.app.leave()
        accepted = [one for listener in listeners for one in _accept_waiting(listener)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for one in accepted:
            with suppress(OSError):  # the client has gone
                await loop.connect_accepted_socket(self._protocol, one, ssl=self.config.ssl)
        until = loop.time() + _LEAVES_WITHIN
        while self.server_state.connections and loop.time() < until and not self.force_exit:  # noqa: ASYNC110  # it is uvicorn's set
            await asyncio.sleep(0.02)

    def _protocol(self) -> asyncio.Protocol:
        kind = cast("type[Connection]", self.config.http_protocol_class)
        return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _stop(self) -> None:
        """Stop, since the parent has ended: its end of the pipe is closed."""
        self.should_exit = True


def _accept_waiting(listener: socket.socket) -> list[socket.socket]:
    """Return the connections that wait to be accepted, which closing the listener would reset."""
    accepted: list[socket.socket] = []
    listener.setblocking(False)
    with suppress(OSError):  # BlockingIOError: no more
        while True:
            accepted.append(listener.accept()[0])
            accepted[-1].setblocking(False)
    return accepted
