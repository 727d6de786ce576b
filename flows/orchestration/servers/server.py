"""`python -m flows.orchestration.servers.server PORT [--api-only] [--socket=FD]`: Prefect's server in one process, on loopback.

PREFECT_SERVER_API_AUTH_STRING is its login. Whatever that is, it takes requests to its own address alone.
"""

import asyncio
import base64
import os
import socket
import sys

import httpx
import uvicorn
from prefect.server.api.server import create_app
from prefect.server.services.perpetual_services import get_perpetual_services
from prefect.server.services.repossessor import monitor_expired_leases

from catalog.settings import read_settings
from flows.orchestration.servers.guard import App, Guard
from flows.recovery.lost_slots import give_back_lost_slots
from flows.recovery.reaper import EVERY, Ask, Reaper, asking
from flows.recovery.run_locks import locks_folder

_SOCKET = "--socket="


class _Server(uvicorn.Server):
    """Tells when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it."""
        await super().startup(sockets)
        self.ready.set()


def main(arguments: list[str]) -> None:
    """Serve until a signal comes; `--api-only` leaves out the UI's files and most of what runs in the background."""
    os.umask(0o077)
    port, api_only = int(arguments[0]), "--api-only" in arguments
    given = [argument.removeprefix(_SOCKET) for argument in arguments if argument.startswith(_SOCKET)]
    _free_expired_slots()
    app = Guard(create_app(final=True, ephemeral=api_only), port)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=3)
    server = _Server(config)
    asyncio.run(_serve(server, app, port, [socket.socket(fileno=int(number)) for number in given]))
    if not server.started:
        sys.exit(3)


def _free_expired_slots() -> None:
    """Have servers without background services look after expired leases too: else a killed command's slots are lost."""
    for service in get_perpetual_services():
        if service.function is monitor_expired_leases:
            service.run_in_ephemeral = True


async def _serve(server: _Server, app: App, port: int, sockets: list[socket.socket]) -> None:
    reaping = asyncio.create_task(_reap(server, app, port))
    try:
        await server.serve(sockets=sockets or None)
    finally:
        reaping.cancel()
        await asyncio.gather(reaping, return_exceptions=True)


async def _reap(server: _Server, app: App, port: int) -> None:
    """End orphaned runs once this serves; the server knows its own, whoever runs a worker."""
    await server.ready.wait()
    login = os.environ.get("PREFECT_SERVER_API_AUTH_STRING", "")
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url=f"http://127.0.0.1:{port}/api", headers=headers
    ) as client:
        ask = asking(client)
        slots = asyncio.create_task(_give_back(ask))
        try:
            await Reaper(ask, locks_folder(read_settings()), own=True).run()
        finally:
            slots.cancel()
            await asyncio.gather(slots, return_exceptions=True)


async def _give_back(ask: Ask) -> None:
    while True:
        try:
            await give_back_lost_slots(ask)
        except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
            print(f"looking for lost slots failed, it is tried again: {error}", file=sys.stderr, flush=True)  # noqa: T201
            await asyncio.sleep(EVERY)
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
