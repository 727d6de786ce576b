"""The registry's own names: a challenge sends clients, with their logins, to no other.

A request may name any host. If its name were trusted, who forged the request, or cached the response, would decide where the
next client sends its password. The challenge to an unknown name is HTTP Basic, at the address the client used.
"""

import logging
import socket
import ssl
from ipaddress import ip_address
from pathlib import Path

from starlette.types import Scope

from catalog.settings import Settings
from oci.remote.network.loopback import is_loopback
from oci.unicode import clean_text
from registry_api.http.forwarded import FORWARDED, HOST, VOUCHED, TrustedProxies, address_text, claims, read_networks
from registry_api.http.messages import find_header

log = logging.getLogger("registry_api")
_HINTS_AT_MOST = 20


def certificate_names(file: Path | None) -> frozenset[str]:
    """Return a certificate's names and addresses, in lower case; none where it cannot be read, which is reported elsewhere."""
    if file is None:
        return frozenset()
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, IndexError, ssl.SSLError, x509.ExtensionNotFound):
        return frozenset()
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return frozenset([*hosts, *map(str, names.get_values_for_type(x509.IPAddress))])


def host_name(host: str) -> str:
    """Return a Host header's name or address, without the port, in lower case. Pure."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")


_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def is_cross_origin(scope: Scope, own: str = "") -> bool:
    """Return whether a browser sends a changing request for a page of another origin; `own` is our address.

    Browsers add remembered logins and client certificates to the requests of any page. Other clients send neither
    header. Source: Fetch Metadata; RFC 6454. Pure.
    """
    if scope["method"] in _SAFE:
        return False
    site = (find_header(scope, b"sec-fetch-site") or b"").decode("latin-1")
    if site:
        return site not in {"same-origin", "none"}
    origin = (find_header(scope, b"origin") or b"").decode("latin-1").lower()
    if not origin:
        return False
    host = (find_header(scope, b"host") or b"").decode("latin-1").lower()
    return origin.partition("://")[2] != host and origin != own.lower().rstrip("/")


class Hosts:
    """Knows our own names; logs a hint once where a setting would help."""

    def __init__(self, settings: Settings) -> None:
        listened = settings.listen.rpartition(":")[0].strip("[]").lower()
        own = {"localhost", socket.gethostname().lower()} | ({listened} if not address_text(listened) else set()) - {""}
        self._names = own | set(certificate_names(settings.tls_cert)) | {name.lower() for name in settings.hosts}
        self._public_url = settings.public_url.rstrip("/")
        self._hinted: set[str] = set()

    def base_url(self, scope: Scope) -> str | None:
        """Return the address by which the client reaches us: the setting, else that of the request where it can be trusted."""
        if self._public_url:
            return self._public_url
        host = (find_header(scope, b"host") or b"").decode("latin-1")
        scheme = scope.get("scheme", "http")
        if not HOST.fullmatch(host):
            return None
        if scope.get(VOUCHED):
            return f"{scheme}://{host}"
        headers = claims(scope)
        if headers:
            self._hint_of_proxy(scope)
            if scheme == "http" and any(b"https" in value.lower() for value in headers.values()):
                return None  # an address in plain HTTP would be wrong
        if self._is_ours(host_name(host), scope):
            return f"{scheme}://{host}"
        self._hint_of_host(host)
        return None

    def _is_ours(self, name: str, scope: Scope) -> bool:
        if "*" in self._names or name in self._names or f"*.{name.partition('.')[2]}" in self._names:
            return True
        here = address_text(str((scope.get("server") or ("",))[0]))
        try:
            requested = ip_address(name)
        except ValueError:
            return False
        return str(requested) == here or (requested.is_loopback and is_loopback(here))

    def _hint_of_proxy(self, scope: Scope) -> None:
        peer = str((scope.get("client") or ("",))[0])
        if self._is_new(f"proxy {peer}"):
            names = ", ".join(name.decode() for name in FORWARDED if find_header(scope, name))
            log.warning(
                "a proxy seems to be in front of the registry; its headers are ignored peer=%s headers=%s; if it is "
                "yours, set ENTREPOT_TRUSTED_PROXIES=%s, or ENTREPOT_PUBLIC_URL to the address that clients use",
                peer, names, peer,
            )  # fmt: skip

    def _hint_of_host(self, host: str) -> None:
        if self._is_new(f"host {host[:300]}"):
            log.warning(
                "a client uses a name that is not known to be the registry's own; its challenge is HTTP Basic host=%s; "
                "set ENTREPOT_PUBLIC_URL, or name it in ENTREPOT_HOSTS",
                clean_text(host[:300]),
            )

    def _is_new(self, hint: str) -> bool:
        if hint in self._hinted or len(self._hinted) >= _HINTS_AT_MOST:
            return False
        self._hinted.add(hint)
        return True


def trusted_proxies(settings: Settings) -> TrustedProxies:
    """Return the proxies that the settings trust."""
    return TrustedProxies(read_networks(settings.trusted_proxies))
