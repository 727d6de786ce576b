"""Admission: whether a request below a cache may be sent upstream, and the error of one that may not."""

from catalog.access.policy import Caller
from catalog.distributions.records import Distribution
from oci.errors import EntrepotError, RemoteLoop, RemoteNotFound, RemoteUnavailable
from oci.reference import DOCKER_HUB
from oci.remote.address import parse_remote
from oci.remote.network.hops import check_hops
from registry_api.context import Registry


def denial_reason(registry: Registry, cache: Distribution, name: str, caller: Caller) -> EntrepotError | None:
    """Return why no request is sent upstream for a name below a cache; None where one may be sent.

    The cache does not admit the name: RemoteNotFound, as if upstream did not have it. The registry is read-only:
    RemoteUnavailable. The request has passed this registry before: RemoteLoop. The caller may not fetch: Unauthorized or
    Denied.
    """
    if not cache.cache.selects(*names_upstream(cache, name)):
        return RemoteNotFound(f"the cache {cache.path} does not admit {name}")
    if registry.catalog.settings.read_only:
        return RemoteUnavailable(f"this registry is read-only now; it fetches nothing from {cache.remote}")
    try:
        check_hops(cache.remote)
    except RemoteLoop as error:
        return error
    return registry.access.denial_of_fetch(caller, cache, name)


def names_upstream(cache: Distribution, name: str) -> tuple[str, ...]:
    """Return the upstream names of a path below a cache: one, or for Docker Hub's official images one with `library/` too."""
    below = name.removeprefix(f"{cache.path}/")
    reference = parse_remote(f"{cache.remote}/{below}").reference
    if reference.registry != DOCKER_HUB or reference.repository.removeprefix("library/") != below.removeprefix(
        "library/"
    ):
        return (below,)
    short = below.removeprefix("library/")
    return (below,) if "/" in short else (short, f"library/{short}")
