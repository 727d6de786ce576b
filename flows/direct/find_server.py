"""Finds the Prefect server that a command uses, and says what is to be set where its login is not taken."""

import time
from collections.abc import Mapping
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from catalog.prefect.address import PrefectAddress, known_addresses
from catalog.settings import Settings
from oci.errors import LocalError

RESTART_SECONDS = 20.0


def find_api(settings: Settings) -> PrefectAddress | None:
    """A Prefect API that answers: that of a running `entrepot up` of this home, else the one that was set."""
    return next((api for api in known_addresses(settings) if _answers(api)), None)


def _answers(api: PrefectAddress) -> bool:
    """Return whether an API answers; the home's own running one is given the time that its next start takes."""
    deadline = time.monotonic() + (RESTART_SECONDS if api.login else 0.0)
    while not (found := is_answering(api.url)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def is_answering(api_url: str, *, timeout: float = 1.0) -> bool:
    """Return whether a Prefect API answers at this URL."""
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"{api_url.rstrip('/')}/health", timeout=timeout) as response:
            return bool(response.status == 200 and response.read(100).strip() == b"true")
    except (URLError, OSError, ValueError):
        return False


def check_login(api: PrefectAddress, environment: Mapping[str, str], *, timeout: float = 10.0) -> None:
    """Raise LocalError, which says what to set, when a Prefect API does not take the login that this process has for it."""
    import httpx

    try:
        with httpx.Client(trust_env=False, timeout=timeout) as client:  # no redirect is followed: the login stays here
            code = client.get(f"{api.url}/admin/version", headers=api.headers(environment)).status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        return  # what it is about shows when it is used
    raise_for_login(api, code)


def raise_for_login(api: PrefectAddress, code: int) -> None:
    """Raise LocalError, which says what to set, where a status says that the login was not taken."""
    if code in {401, 403}:
        how = "restart `entrepot up`" if api.login else "set PREFECT_API_AUTH_STRING (user:password) or PREFECT_API_KEY"
        raise LocalError(f"Prefect at {api.url} answered {code}: it does not take the login given; {how}")
