"""What an installation is known by among others that share a Prefect server."""

import hashlib
import platform
from urllib.parse import urlsplit

from catalog.settings import Settings


def home_id(settings: Settings) -> str:
    """Return eight letters and digits: the same for all machines with one PostgreSQL catalogue, else of this home alone."""
    return hashlib.sha256(
        _place(settings.catalog, f"{platform.node()}:{settings.root.absolute()}").encode()
    ).hexdigest()[:8]


def _place(catalog: str, home: str) -> str:
    """Return where a catalogue is, without a login."""
    if not catalog.startswith("postgres"):
        return home
    url = urlsplit(catalog)
    return f"{url.hostname}:{url.port or 5432}{url.path}"
