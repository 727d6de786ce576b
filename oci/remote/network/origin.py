"""Origins: scheme, host and port together. A login is good for one, and so is what is learnt about how to log in.

Source: RFC 9110 section 4.3.1; RFC 6454.
"""

from collections.abc import Iterable
from typing import NamedTuple

import httpx

from oci.errors import RemoteRefused
from oci.remote.network.loopback import is_loopback

_PORTS = {"http": 80, "https": 443}


class UrlOrigin(NamedTuple):
    """The scheme, host and port of a URL."""

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        port = "" if self.port == _PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}{port}"


def origin_of(url: httpx.URL) -> UrlOrigin:
    """Return the origin of a URL, with the port that its scheme implies."""
    return UrlOrigin(url.scheme, url.host, url.port or _PORTS.get(url.scheme))


def place_at(base: httpx.URL, path: str) -> httpx.URL:
    """Return the URL of a path at an origin, or of what else a registry names as a place."""
    is_path = path.startswith("/") and not path.startswith("//") and path.isascii() and "#" not in path
    return base.copy_with(raw_path=path.encode()) if is_path else base.join(path)


def follow_to(source: httpx.URL, location: str, *, registry: str, what: str) -> httpx.URL:
    """Return the target of a redirect from `source`: without a fragment, and without a login.

    `what` begins the message of the RemoteRefused that is raised for what is no URL, and for a step from https down to http.
    """
    try:
        url = source.join(location)
    except (httpx.InvalidURL, ValueError):
        raise RemoteRefused(f"{what} an address that is none", registry=registry) from None
    if url.scheme not in _PORTS or not url.host:
        raise RemoteRefused(f"{what} an address that is neither http nor https", registry=registry)
    if source.scheme == "https" and url.scheme != "https":
        raise RemoteRefused(f"{what} {origin_of(url)}, which is not https", registry=registry)
    return url.copy_with(fragment=None, userinfo=b"")


def may_hold_login(realm: httpx.URL, registry: httpx.URL, insecure: Iterable[str], *, is_login: bool) -> bool:
    """Return whether a token service may be asked.

    In plain HTTP it may only for a registry that is reached so itself. A login is sent so only to the registry's host, to this
    machine, or where `insecure` names the host.
    """
    if realm.scheme == "https":
        return True
    if registry.scheme == "https":
        return False
    is_known = realm.host == registry.host or is_loopback(realm.host)
    return not is_login or is_known or bool({realm.host, f"{realm.host}:{realm.port}"} & set(insecure))
