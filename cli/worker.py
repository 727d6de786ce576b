"""`entrepot worker`: flow runs of a Prefect server that runs elsewhere."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.catalog import settings_of
from cli.options import Home
from cli.output import say
from oci.errors import LocalError, SettingsInvalid

if TYPE_CHECKING:
    from catalog.prefect.address import PrefectAddress
    from catalog.settings import Settings


def worker(context: typer.Context, *, home: Home = None) -> None:
    """Run the flows of a Prefect server until Ctrl-C.

    ENTREPOT_PREFECT_API_URL names the server; PREFECT_API_AUTH_STRING or PREFECT_API_KEY logs in. The deployments are
    registered with it first. The registry and Prefect's server run elsewhere: `entrepot serve`, `prefect server start`.

    Example: entrepot worker
    """
    from catalog.prefect.address import PrefectAddress
    from flows.orchestration.servers.home import prepare_home, quiet_environment, set_environment, worker_environment

    settings = settings_of(home)
    if "prefect_api_url" not in settings.model_fields_set:
        raise SettingsInvalid("ENTREPOT_PREFECT_API_URL: expected the Prefect server whose flows are to run")
    api = PrefectAddress(settings.prefect_api_url.rstrip("/"))
    prepare_home(settings)
    if not settings.work_roots:
        settings.allowed_roots[0].mkdir(exist_ok=True, mode=0o700)
    bin_folder = str(Path(sys.executable).parent)
    set_environment(
        {**worker_environment(settings, api, os.environ, bin_folder), **quiet_environment(debug=bool(context.obj))}
    )
    _await(settings, api)
    from flows.orchestration import deployments  # imports Prefect, which reads the environment

    changed = deployments.register()
    say(f"Prefect      {api.url} ({changed} deployments registered)")
    command = [sys.executable, "-m", "flows.orchestration.worker", "--reap"]
    os.execv(command[0], command)  # noqa: S606  # to become the worker is what this command is for


def _await(settings: "Settings", api: "PrefectAddress") -> None:
    """Wait until the server answers; raise LocalError when it does not, or does not take our login."""
    from flows.direct.find_server import check_login, is_answering

    deadline = time.monotonic() + settings.prefect_timeout
    while not is_answering(api.url):
        if time.monotonic() > deadline:
            raise LocalError(f"Prefect at {api.url} has not answered for {settings.prefect_timeout:g} s")
        time.sleep(0.5)
    check_login(api, os.environ)
