"""Addresses of our pages, for those who look at a flow run."""

from urllib.parse import quote

from catalog.settings import Settings


def pages_url(settings: Settings) -> str:
    """Return the address of our pages: ENTREPOT_PUBLIC_URL, else that of the registry on this machine."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host, port = settings.listen_address
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{port}"


def repository_page(settings: Settings, repository: str) -> str:
    """Return the address of a repository's page."""
    return f"{pages_url(settings)}/repository/{quote(repository, safe='/')}"
