"""How connections are made: to any address, which is noted, or to those alone that are within reach."""

import httpcore
import httpx
from httpcore._backends.auto import AutoBackend

from oci.remote.network.reach import Reach


class NotingBackend(AutoBackend):
    """Connects as always, and notes the address."""

    def __init__(self, reach: Reach) -> None:
        super().__init__()
        self._reach = reach

    async def connect_tcp(self, host: str, port: int, *rest: object, **options: object) -> httpcore.AsyncNetworkStream:
        """Connect."""
        stream = await super().connect_tcp(host, port, *rest, **options)  # type: ignore[arg-type]
        peer = stream.get_extra_info("server_addr")
        if isinstance(peer, tuple):
            self._reach.met(str(peer[0]))
        return stream


class GuardedBackend(AutoBackend):
    """Connects to the addresses within reach alone, one after the other."""

    def __init__(self, reach: Reach) -> None:
        super().__init__()
        self._reach = reach

    async def connect_tcp(self, host: str, port: int, *rest: object, **options: object) -> httpcore.AsyncNetworkStream:
        """Connect to an address that was looked at."""
        failed: Exception | None = None
        try:
            addresses = await self._reach.addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for address in addresses:
            try:
                return await super().connect_tcp(str(address), port, *rest, **options)  # type: ignore[arg-type]
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        assert failed is not None
        raise failed


def direct_transport(client: httpx.AsyncClient) -> httpx.AsyncHTTPTransport:
    """Return what makes the direct connections of a client; those to a proxy are made as always."""
    transport = client._transport  # noqa: SLF001  # httpx has no other way that keeps the environment's proxies
    assert isinstance(transport, httpx.AsyncHTTPTransport)
    return transport


def set_backend(client: httpx.AsyncClient, backend: httpcore.AsyncNetworkBackend) -> None:
    """Have the direct connections of a client made by `backend`."""
    direct_transport(client)._pool._network_backend = backend  # noqa: SLF001
