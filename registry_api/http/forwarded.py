"""Forwarding headers: the client, host and scheme of a request, as proxies in front of the registry state them.

Used from proxies that the settings trust, and from nobody else. Source: RFC 7239; X-Forwarded-For, -Proto and -Host.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from starlette.types import Scope

from registry_api.http.messages import find_header

VOUCHED = "entrepot.vouched_host"
"""The key of a request's scope that is true where a trusted proxy vouches for the host."""

_PAIR = re.compile(r'\s*+([A-Za-z]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s;,"]*+))\s*+')  # no way back: one pass
HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_MOST_HOPS = 50
FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
Networks = Sequence[IPv4Network | IPv6Network]
Claims = tuple[bytes, bytes, bytes, bytes]
"""The values of the FORWARDED headers, in their order; empty for those that are not there."""

_CACHED_AT_MOST = 500
"""Bytes of headers whose reading is kept: most requests of one client have the same."""


class Hop(NamedTuple):
    """One proxy's statement of the client that connected to it; empty fields where it states nothing."""

    client: str = ""
    scheme: str = ""
    host: str = ""


def read_networks(texts: Sequence[str]) -> Networks:
    """Read addresses and networks; raise ValueError."""
    return [ip_network(text) for text in texts]


def address_text(text: str) -> str:
    """Return the address of a node, without port and brackets; empty for others, such as `unknown` or `_hidden`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def parse_forwarded(header: str) -> list[Hop] | None:
    """Read a Forwarded header (RFC 7239, 4), the nearest proxy's element last; None for one that is malformed."""
    hops: list[Hop] = []
    for element in _split(header, ","):
        pairs: dict[str, str] = {}
        for part in _split(element, ";"):
            if not part.strip():
                continue
            pair = _PAIR.fullmatch(part)
            if pair is None:
                return None
            value = pair[3] if pair[2] is None else re.sub(r"\\(.)", r"\1", pair[2])
            pairs[pair[1].lower()] = value
        hops.append(Hop(pairs.get("for", ""), pairs.get("proto", ""), pairs.get("host", "")))
    return hops[-_MOST_HOPS:]


def _split(text: str, by: str) -> list[str]:
    """Split where the separator stands outside of quotes."""
    return re.findall(rf'(?:[^"{by}]|"(?:[^"\\]|\\.)*"?)+', text)


def parse_x_forwarded(addresses: str, schemes: str, hosts: str) -> list[Hop]:
    """Read the X-Forwarded headers; lists that are shorter than that of addresses end with the nearest proxy too."""
    lists = [[part.strip() for part in text.split(",")] if text else [] for text in (addresses, schemes, hosts)]
    length = min(max(map(len, lists)), _MOST_HOPS)
    padded = [([""] * length + parts)[-length:] if len(parts) != 1 else parts * length for parts in lists if length]
    return [Hop(*values) for values in zip(*padded, strict=True)] if padded else []


class TrustedProxies:
    """Applies the forwarding headers of trusted proxies to a request's scope."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self.trusts: Callable[[str], bool] = lru_cache(maxsize=4096)(self._trusts)
        self._read: Callable[[str, Claims], tuple[str, Hop] | None] = lru_cache(maxsize=4096)(self._read_anew)

    def _trusts(self, address: str) -> bool:
        text = address_text(address)
        if not text:
            return False
        parsed = ip_address(text)
        return any(parsed in network for network in self._networks)

    def is_peer(self, scope: Scope) -> bool:
        """Return whether a trusted proxy has sent the request; ask it of the scope as it came."""
        peer = scope.get("client")
        return bool(self._networks and peer and self.trusts(peer[0]))

    def apply(self, scope: Scope) -> Scope:
        """Return the scope as the client's own request would have it; unchanged without headers of a trusted proxy."""
        peer = scope.get("client")
        if not self._networks or not peer or not self.trusts(peer[0]):
            return scope
        claimed = _claims_of(scope)
        found = (self._read if sum(map(len, claimed)) <= _CACHED_AT_MOST else self._read_anew)(peer[0], claimed)
        return scope if found is None else _rewritten(scope, *found)

    def _read_anew(self, peer: str, claimed: Claims) -> tuple[str, Hop] | None:
        """Return the client, and what is stated of its request; None where nothing is, or what contradicts itself."""
        hops = _hops_of(claimed)
        if not hops:
            return None
        client, merged = peer, Hop()
        for hop in reversed(hops):  # from the nearest on, as long as the client of a proxy is a trusted proxy itself
            merged = Hop(hop.client or merged.client, hop.scheme or merged.scheme, hop.host or merged.host)
            address = address_text(hop.client)
            client = address or client
            if not address or not self.trusts(address):
                break
        return client, merged


def _claims_of(scope: Scope) -> Claims:
    """Return the values of the headers; several lines of one are joined by commas."""
    found: dict[bytes, bytes | None] = dict.fromkeys(FORWARDED)
    for name, value in scope["headers"]:
        if name in found:
            earlier = found[name]
            found[name] = value if earlier is None else earlier + b", " + value
    forwarded, addresses, schemes, hosts = (value or b"" for value in found.values())
    return forwarded, addresses, schemes, hosts


def _hops_of(claimed: Claims) -> list[Hop]:
    forwarded, addresses, schemes, hosts = (value.decode("latin-1") for value in claimed)
    older = parse_x_forwarded(addresses, schemes, hosts)
    if not forwarded:
        return older
    hops = parse_forwarded(forwarded) or []
    return hops if agree(hops, older) else []


def agree(hops: Sequence[Hop], older: Sequence[Hop]) -> bool:
    """Return whether both forms of the headers name the same client, or the older form is absent. Pure.

    A proxy that writes one form passes on the other as the client sent it; which of the two that is cannot be seen.
    """
    if not older:
        return True
    return bool(hops) and address_text(hops[-1].client) == address_text(older[-1].client)


def _rewritten(scope: Scope, client: str, hop: Hop) -> Scope:
    changes: dict[str, object] = {"client": (client, 0), VOUCHED: True}
    if hop.scheme.lower() in {"http", "https"}:
        changes["scheme"] = hop.scheme.lower()
    if HOST.fullmatch(hop.host):
        others = [pair for pair in scope["headers"] if pair[0] != b"host"]
        changes["headers"] = [(b"host", hop.host.encode("latin-1")), *others]
    return {**scope, **changes}


def claims(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the forwarding headers of a request, whoever sent it."""
    headers = {name: find_header(scope, name) for name in FORWARDED}
    return {name: value for name, value in headers.items() if value}
