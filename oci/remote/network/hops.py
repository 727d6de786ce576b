"""The registries that a request has passed, so that caches of each other do not ask in a circle. Source: RFC 9110 section 7.6.3.

A registry that sends a request upstream on behalf of another names itself in `Via`, after the registries before it.
"""

import re
from contextvars import ContextVar
from dataclasses import dataclass

from oci.errors import RemoteLoop

_PREFIX = "entrepot-"
_ENTRY = re.compile(rf"(?:^|,)\s*(?:HTTP/)?[0-9.]+\s+{_PREFIX}([0-9a-f]{{16}})(?=\s|,|$)", re.IGNORECASE)
LOOP = "is this registry itself, or a cache of it: the question has come round to it"
_AT_MOST = 8
"""Caches behind each other."""


@dataclass(frozen=True, slots=True)
class Hops:
    """This registry, and the registries on whose behalf it sends requests."""

    own: str
    before: tuple[str, ...] = ()

    @property
    def via(self) -> str:
        """The value of the header."""
        return ", ".join(f"1.1 {_PREFIX}{one}" for one in (*self.before, self.own))


current: ContextVar[Hops | None] = ContextVar("hops", default=None)
"""Set for a request that may make us ask upstream, and inherited by what that starts."""


def parse_via(value: str, own: str) -> Hops:
    """Read a `Via` field, as far as it names registries such as we are."""
    return Hops(own, tuple(match[1].lower() for match in _ENTRY.finditer(value)))


def check_hops(upstream: str) -> None:
    """Raise RemoteLoop when the request being handled has been here before, or has passed too many registries."""
    hops = current.get()
    if hops is None:
        return
    if hops.own in hops.before:
        raise RemoteLoop(LOOP, registry=upstream)
    if len(hops.before) >= _AT_MOST:
        raise RemoteLoop(f"is not asked: more than {_AT_MOST} caches ask each other already", registry=upstream)
