"""Caches that speak to upstream with a login: what upstream shows to that login alone must not become everybody's unasked."""

from collections.abc import Iterator
from typing import NamedTuple

from catalog.distributions.records import Distribution, Distributions
from catalog.remotes.records import Remotes
from oci.errors import RemoteUnauthorized
from oci.reference import registry_name
from oci.remote.address import parse_remote
from oci.remote.auth.keychain import Keychain


class SharedLogin(NamedTuple):
    """A cache that gives everybody what it reads with a login, and that nobody has said should."""

    path: str
    remote: str
    login: str


def login_of(remote: str, keychain: Keychain, remotes: Remotes) -> str:
    """Say what a cache of a registry proves who we are with there, or below; empty for nothing. May read files and run helpers.

    Raises RemoteUnauthorized when a file of logins cannot be read.
    """
    reference = parse_remote(f"{remote}/name").reference
    name = reference.repository
    prefix = "" if name in {"name", "library/name"} else name.rpartition("/")[0]  # the latter is all of Docker Hub
    if keychain.has_any(reference.registry, prefix):
        return f"a login for {reference.registry}"
    place = f"{registry_name(reference.registry)}/{prefix}".rstrip("/")
    for record in remotes.all():
        covers = f"{place}/".startswith(f"{record.key}/") or f"{record.key}/".startswith(f"{place}/")
        if covers and (record.client_cert or record.headers):
            what = "the client certificate" if record.client_cert else "headers"
            return f"{what} of the remote {record.key}"
    return ""


def shared_logins(distributions: Distributions, keychain: Keychain, remotes: Remotes) -> Iterator[SharedLogin]:
    """The public caches that use a login, and that nobody has made public knowing it."""
    for cache in distributions.caches():
        if is_unsaid(cache):
            try:
                login = login_of(cache.remote, keychain, remotes)
            except RemoteUnauthorized as error:
                login = f"perhaps a login ({error.message})"
            if login:
                yield SharedLogin(cache.path, cache.remote, login)


def is_unsaid(cache: Distribution) -> bool:
    """Return whether a cache is public, and nobody has said that it may share a login."""
    return bool(cache.remote) and not cache.private and not cache.shares_login
