"""Addresses of this machine itself."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether host[:port] is this machine by name or address."""
    name = host.rpartition(":")[0] if host.count(":") == 1 else host
    name = name.partition("]")[0].strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
