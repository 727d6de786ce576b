"""`python -m flows.prefect_server PORT [--api-only] [--socket=FD]`: Prefect's server in one process, on loopback.

PREFECT_SERVER_API_AUTH_STRING is its login. Whatever that is, it takes requests to its own address alone.
"""

import os
import socket
import sys

import uvicorn
from prefect.server.api.server import create_app

from flows.prefect_guard import Guard

_SOCKET = "--socket="


def main(arguments: list[str]) -> None:
    """Serve until a signal comes; `--api-only` leaves out the UI's files and what runs in the background."""
    os.umask(0o077)
    port, api_only = int(arguments[0]), "--api-only" in arguments
    given = [argument.removeprefix(_SOCKET) for argument in arguments if argument.startswith(_SOCKET)]
    app = Guard(create_app(final=True, ephemeral=api_only), port)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=int(given[0]))] if given else None)
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main(sys.argv[1:])
