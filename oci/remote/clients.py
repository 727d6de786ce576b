"""The HTTP clients of one remote: one that speaks to the registry itself, one for all places that it sends us to."""

import ssl

import httpx

from oci.remote.options import RemoteOptions
from oci.remote.reach import GuardedBackend, NotingBackend, Reach, set_backend


class Clients:
    """Reads certificates when it is made. Only `home` shows the client certificate; `elsewhere` goes no further than `reach`."""

    def __init__(self, options: RemoteOptions, reach: Reach) -> None:
        context = _trust(options)
        self.elsewhere = _make(options, context)
        if options.client_cert:
            context = _trust(options)
            # Without a password, OpenSSL would ask for that of an encrypted key on the terminal.
            context.load_cert_chain(options.client_cert, options.client_key, password="")
        self.home = _make(options, context)
        set_backend(self.home, NotingBackend(reach))
        set_backend(self.elsewhere, GuardedBackend(reach))

    async def close(self) -> None:
        """Close all connections."""
        await self.home.aclose()
        await self.elsewhere.aclose()


def _trust(options: RemoteOptions) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for ca_file in filter(None, (options.ca_file, options.own_ca_file)):
        context.load_verify_locations(cafile=ca_file)
    return context


def _make(options: RemoteOptions, context: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=context,
        proxy=options.proxy or None,
        trust_env=not options.direct,
        follow_redirects=False,
        headers={"User-Agent": "entrepot", "Accept-Encoding": "identity"},
        limits=httpx.Limits(max_connections=options.connections, max_keepalive_connections=options.connections),
        timeout=options.timeout(options.silence_timeout),
    )
