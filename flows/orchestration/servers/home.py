"""How Prefect is run here: its state in ENTREPOT_HOME, nothing of the user's touched, nothing sent anywhere."""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from catalog.prefect.address import PrefectAddress
from catalog.settings import Settings
from flows.orchestration.servers.guard import own_origins
from oci.remote.network.loopback import is_loopback

WORK_POOL = "entrepot"
HEARTBEAT_SECONDS = 60
"""How often a flow run says that it lives; what a reaper without its lock goes by."""


def prefect_environment(settings: Settings, api: PrefectAddress | None = None) -> dict[str, str | None]:
    """Environment variables for a process that imports Prefect; they count only before it is imported.

    A server of ours has a login of its own, which takes the place of the user's for other servers; None takes a variable away.
    """
    home = settings.root / "prefect"
    values: dict[str, str | None] = {
        "ENTREPOT_HOME": str(settings.root),
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }
    if api is None:
        return values
    values["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT_SECONDS)
    login = {"PREFECT_API_AUTH_STRING": api.login, "PREFECT_API_KEY": None} if api.login else {}
    values |= unproxied(api.url, os.environ)
    return {**values, **login, "PREFECT_API_URL": api.url, "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}


def unproxied(url: str, environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return variables that keep a loopback URL from the proxies of an environment; nothing for other URLs.

    Both spellings are set: Python lets the lower one hide the other.
    """
    host = urlsplit(url).hostname or ""
    kept = environment.get("no_proxy") or environment.get("NO_PROXY", "")
    if not is_loopback(host) or kept.strip() == "*":
        return {}
    hosts = [name for name in kept.split(",") if name.strip() not in {"", host}]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join([*hosts, host]))


def prepare_home(settings: Settings) -> None:
    """Make the folder of Prefect's state: Prefect makes none whose parent is missing, and says so at its import."""
    for folder in (settings.root, settings.root / "prefect"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def set_environment(values: Mapping[str, str | None]) -> None:
    """Change the environment of this process, before Prefect is imported."""
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def quiet_environment(*, debug: bool) -> dict[str, str | None]:
    """Keep Prefect's log lines off the terminal; they are in the flow run's log all the same."""
    return {} if debug else {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}


def server_environment(settings: Settings, port: int, login: str) -> dict[str, str | None]:
    """Return what a Prefect server of ours runs with: its login, pages of its own alone, leases of slots that outlive it."""
    return {
        **prefect_environment(settings),
        "PREFECT_API_URL": None,
        "PREFECT_API_KEY": None,
        "PREFECT_API_AUTH_STRING": None,
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(own_origins(port)),
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_URL": f"http://127.0.0.1:{port}",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def worker_environment(
    settings: Settings, api: PrefectAddress, inherited: Mapping[str, str], bin_folder: str
) -> dict[str, str | None]:
    """Return what a worker and its flow runs run with; `python` is ours, and new flow runs are found within two seconds."""
    path = inherited.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    tls = {"ENTREPOT_TLS_CERT": settings.tls_cert, "ENTREPOT_TLS_KEY": settings.tls_key}
    return {
        **prefect_environment(settings, api),
        "ENTREPOT_LISTEN": settings.listen,  # builds and signatures name the registry as it was started
        **{name: str(file.absolute()) for name, file in tls.items() if file},
        "PATH": f"{bin_folder}:{path}",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
