"""How an HTTP client of Prefect's API is made, whichever library and whoever asks."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from catalog.prefect.address import PrefectAddress
from catalog.settings import Settings
from oci.remote.network.loopback import is_loopback


def client_options(
    settings: Settings, api: PrefectAddress, environment: Mapping[str, str], *, seconds: float
) -> dict[str, Any]:
    """Return the options of an httpx client: the login, the certificates, and proxies unless the API is on this machine.

    `seconds` are those that the server has for one response. Reads certificates for HTTPS alone, as that takes 20 ms.
    """
    place = urlsplit(api.url)  # its scheme is in lower case
    needs_certificates = place.scheme != "http"
    return {
        "base_url": api.url,
        "headers": api.headers(environment),
        "timeout": seconds,
        "verify": ssl.create_default_context(cafile=settings.ca_file)
        if needs_certificates and settings.ca_file
        else needs_certificates,
        "trust_env": not is_loopback(place.hostname or ""),
    }
