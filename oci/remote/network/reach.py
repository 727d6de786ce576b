"""Which places a registry may send us to: none within our own network, unless the registry itself is there, or they are allowed.

A name is looked up here and the address that was looked at is the one that is connected to, so that it cannot change in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from oci.errors import RemoteRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Kind = Literal["public", "private", "loopback", "link-local", "unusable"]
"""`unusable` is what no server has: unspecified, multicast and reserved addresses."""

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

# Addresses of networks that the standard library does not call private: shared address space (RFC 6598).
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_6TO4 = ipaddress.ip_network("2002::/16")

_MAY_SEND_TO: dict[Kind, frozenset[Kind]] = {
    "public": frozenset({"public"}),
    "private": frozenset({"public", "private"}),
    "loopback": frozenset({"public", "private", "loopback"}),
    "link-local": frozenset({"public", "link-local"}),
    "unusable": frozenset({"public"}),
}


def address_kind(address: Address) -> Kind:
    """Return the zone of an address; an IPv4 address within an IPv6 one counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        within = address.ipv4_mapped
        if within is None and address in _NAT64:
            within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if within is None and address in _6TO4:
            within = ipaddress.IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
        if within is None and int(address) >> 32 == 0 and int(address) > 1:  # ::a.b.c.d
            within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if within is not None:
            return address_kind(within)
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return "unusable"
    if address.version == 4 and address in _SHARED:
        return "private"
    is_site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return "public" if address.is_global and not is_site_local else "private"


def literal_address(host: str) -> Address | None:
    """Return the address in a host's text, in any form that the system's resolver accepts: 127.1, 0x7f000001, 017700000001."""
    text = host.strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except OSError:
        return None


def is_local_name(host: str) -> bool:
    """Return whether a name always means this machine. Source: RFC 6761 section 6.3."""
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def is_named(host: str, allowed: Iterable[str]) -> bool:
    """Return whether a host is one of `allowed`: names, globs of names, addresses or networks."""
    name, address = host.lower().rstrip("."), literal_address(host)
    return any(_is_in(address, one) or fnmatchcase(name, one.lower()) for one in allowed)


def _is_in(address: Address | None, network: str) -> bool:
    if address is None:
        return False
    try:
        return address == literal_address(network) or address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


async def look_up(host: str, port: int) -> Sequence[Address]:
    """Return all addresses of a host, as the system knows them; raise OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found))


class Reach:
    """Judges the places that a host sends us to. `home` is that host as it was configured; `allowed` are named by a setting.

    Where a name leads is `resolve`'s to say. What `home` itself may send to follows from where it was connected to.
    """

    def __init__(self, home: str, allowed: Sequence[str] = (), *, resolve: Resolve = look_up) -> None:
        self._home, self._allowed, self._resolve = home, tuple(allowed), resolve
        name = _without_port(home)
        address = literal_address(name)
        self._kind: Kind = address_kind(address) if address else "loopback" if is_local_name(name) else "public"
        self._met: set[Kind] = set()

    def met(self, peer: str) -> None:
        """Take note of an address by which `home` was reached.

        One that was reached at several may send to what each of them may: whoever owns its name decides where it leads, so that
        an internal address, once met, must not open the network to responses from outside.
        """
        address = literal_address(peer)
        if address is not None and literal_address(_without_port(self._home)) is None:
            self._met.add(address_kind(address))

    def check_name(self, host: str) -> None:
        """Raise RemoteRefused for a host that by its text alone is out of reach."""
        address = literal_address(host)
        if address is None and is_local_name(host):
            address = ipaddress.IPv4Address("127.0.0.1")
        if address is not None and not self._may(host, address):
            raise self._refusal(host)

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Return the addresses of a host that may be connected to.

        Raises RemoteRefused when it has none, OSError when it is not known.
        """
        self.check_name(host)
        try:
            found = await self._resolve(host, port)
        except UnicodeError as error:
            raise OSError(str(error)) from error
        usable = [one for one in found if self._may(host, one)]
        if not usable:
            raise self._refusal(host)
        return usable

    def _may(self, host: str, address: Address) -> bool:
        if is_named(host, self._allowed) or is_named(str(address), self._allowed):
            return True
        return all(address_kind(address) in _MAY_SEND_TO[one] for one in self._met or {self._kind})

    def _refusal(self, host: str) -> RemoteRefused:
        sends = "sends us to" if self._home else "the URL leads to"
        return RemoteRefused(
            f"{sends} {host}, an address of an internal network; if that is right, name it in ENTREPOT_INTERNAL_HOSTS",
            registry=self._home,
        )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].strip("[")
    return host.partition(":")[0] if host.count(":") == 1 else host
