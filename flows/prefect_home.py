"""How Prefect is run here: its state in ENTREPOT_HOME, nothing of the user's touched, nothing sent anywhere."""

from collections.abc import Mapping
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from catalog.settings import Settings

WORK_POOL = "entrepot"


def prefect_environment(settings: Settings, api_url: str = "") -> dict[str, str]:
    """Environment variables for a process that imports Prefect; they count only before it is imported."""
    home = settings.root / "prefect"
    values = {
        "ENTREPOT_HOME": str(settings.root),
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }
    return {**values, "PREFECT_API_URL": api_url} if api_url else values


def quiet_environment(*, debug: bool) -> dict[str, str]:
    """Keep Prefect's log lines off the terminal; they are in the flow run's log all the same."""
    return {} if debug else {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}


def server_environment(settings: Settings) -> dict[str, str]:
    """What a Prefect server of ours runs with."""
    return {**prefect_environment(settings), "PREFECT_SERVER_LOGGING_LEVEL": "WARNING"}


def worker_environment(
    settings: Settings, api_url: str, inherited: Mapping[str, str], bin_folder: str
) -> dict[str, str]:
    """What a worker and its flow runs run with; `python` is ours, and new flow runs are found within two seconds."""
    path = inherited.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    tls = {"ENTREPOT_TLS_CERT": settings.tls_cert, "ENTREPOT_TLS_KEY": settings.tls_key}
    return {
        **prefect_environment(settings, api_url),
        "ENTREPOT_LISTEN": settings.listen,  # builds and signatures name the registry as it was started
        **{name: str(file.absolute()) for name, file in tls.items() if file},
        "PATH": f"{bin_folder}:{path}",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }


def is_answering(api_url: str, *, timeout: float = 1.0) -> bool:
    """Whether a Prefect API answers at this URL."""
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"{api_url.rstrip('/')}/health", timeout=timeout) as response:
            return bool(response.status == 200 and response.read(100).strip() == b"true")
    except (URLError, OSError, ValueError):
        return False
