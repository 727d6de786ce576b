"""Whether a request below a cache may ask upstream, and if not, with what it is answered when what it wants is not here."""

from catalog.access.policy import Caller
from catalog.distributions.records import Distribution
from oci.errors import EntrepotError, RemoteLoop, RemoteNotFound, RemoteUnavailable
from oci.reference import DOCKER_HUB
from oci.remote.address import parse_remote
from oci.remote.network.hops import check_hops
from registry_api.context import Registry


def why_not_ask(registry: Registry, cache: Distribution, name: str, caller: Caller) -> EntrepotError | None:
    """Why upstream is not asked for a name below a cache: the cache does not take the name (RemoteNotFound, as if upstream had no
    such thing), the registry is read-only (RemoteUnavailable), the request has come round to this registry (RemoteLoop), or the
    caller may not bring anything (Unauthorized, Denied)."""
    if not cache.cache.takes(*names_upstream(cache, name)):
        return RemoteNotFound(f"the cache {cache.path} does not take {name}")
    if registry.catalog.settings.read_only:
        return RemoteUnavailable(f"this registry is read-only now, and does not ask {cache.remote}")
    try:
        check_hops(cache.remote)
    except RemoteLoop as error:
        return error
    return registry.gate.why_not_bring(caller, cache, name)


def names_upstream(cache: Distribution, name: str) -> tuple[str, ...]:
    """The names that something below a cache has upstream: one, or for Docker Hub's official images one with `library/` too."""
    below = name.removeprefix(f"{cache.path}/")
    reference = parse_remote(f"{cache.remote}/{below}").reference
    if reference.registry != DOCKER_HUB or reference.repository.removeprefix("library/") != below.removeprefix(
        "library/"
    ):
        return (below,)
    short = below.removeprefix("library/")
    return (below,) if "/" in short else (short, f"library/{short}")
