"""The HTTP clients of one remote: one that speaks to the registry itself, one for all places that it sends us to."""

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpcore
import httpx

from oci.remote.network.backends import GuardedBackend, NotingBackend, direct_transport
from oci.remote.network.pool import ConnectionPool
from oci.remote.network.reach import Reach
from oci.remote.options import RemoteOptions
from oci.traces.requests import send_traced
from oci.traces.spans import active


class Clients:
    """Reads certificates when it is made. Only `home` shows the client certificate; `elsewhere` goes no further than `reach`."""

    def __init__(self, options: RemoteOptions, reach: Reach) -> None:
        files = tuple(filter(None, (options.ca_file, options.own_ca_file)))
        stamps = tuple(file.stat().st_mtime_ns for file in files)
        context = _trust(files, stamps)
        self.elsewhere = _make(options, context, GuardedBackend(reach))
        if options.client_cert:
            context = _read_trust(files)
            # Without a password, OpenSSL would ask for that of an encrypted key on the terminal.
            context.load_cert_chain(options.client_cert, options.client_key, password="")
        self.home = _make(options, context, NotingBackend(reach))

    async def close(self) -> None:
        """Close all connections."""
        await self.home.aclose()
        await self.elsewhere.aclose()


@lru_cache(maxsize=32)
def _trust(files: tuple[Path, ...], _stamps: tuple[int, ...]) -> ssl.SSLContext:
    """Return the TLS context that connections share: reading the system's authorities takes a tenth of a second."""
    return _read_trust(files)


def _read_trust(files: tuple[Path, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for ca_file in files:
        context.load_verify_locations(cafile=ca_file)
    return context


class _NoCookies(httpx.Cookies):
    """Keeps nothing: registries know clients by their logins, and no other client of theirs returns cookies."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Look at nothing."""


_NO_COOKIES = _NoCookies()


class _Client(httpx.AsyncClient):
    @property
    def cookies(self) -> httpx.Cookies:
        """None, whatever was sent."""
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, _cookies: object) -> None:
        """Keep none."""

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send it, and trace it where traces are wanted."""
        tracing = active()
        if tracing is None:
            return await super().send(request, **options)
        send = super().send
        return await send_traced(tracing, lambda traced: send(traced, **options), request)


def _make(options: RemoteOptions, context: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend) -> httpx.AsyncClient:
    """Make a client whose direct connections are made by `backend`; those to a proxy are made as always."""
    client = _Client(
        verify=context,
        proxy=options.proxy or None,
        trust_env=not options.direct,
        follow_redirects=False,
        headers={"User-Agent": "entrepot", "Accept-Encoding": "identity"},
        limits=httpx.Limits(max_connections=options.connections, max_keepalive_connections=options.connections),
        timeout=timeout_of(options, options.silence_timeout),
    )
    pool = ConnectionPool(context=context, backend=backend, connections=options.connections)
    direct_transport(client)._pool = pool  # type: ignore[assignment]  # noqa: SLF001  # all that httpx asks of a pool
    return client


def timeout_of(options: RemoteOptions, left: float) -> httpx.Timeout:
    """Return the time-outs of one request that may be silent for so long; a place among the connections is waited for."""
    byte = min(options.read_timeout, left)
    return httpx.Timeout(connect=min(options.connect_timeout, left), read=byte, write=byte, pool=None)
