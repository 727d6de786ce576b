"""`python -m flows.prefect_server PORT [--api-only]`: Prefect's server in one process, on loopback."""

import sys

import uvicorn
from prefect.server.api.server import create_app


def main(arguments: list[str]) -> None:
    """Serve until a signal comes; `--api-only` leaves out the UI's files and what runs in the background."""
    port, api_only = int(arguments[0]), "--api-only" in arguments
    app = create_app(final=True, ephemeral=api_only)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main(sys.argv[1:])
