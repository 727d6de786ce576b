"""Finds the upstream repositories that a watch is about."""

from catalog.catalog import Catalog
from catalog.versions.version_origins import remotes_of
from flows.watch.request import is_remote
from oci.errors import RemoteUnknown
from oci.reference import registry_name
from oci.remote.address import Remote, parse_remote

_VERSIONS = 100
"""Versions of a repository that are looked at for one that came from an upstream, the latest first."""


def find_upstreams(catalog: Catalog, source: str) -> list[Remote]:
    """Return the repositories to watch: the source itself, or those that a path here has its content from.

    Raise RemoteUnknown for a path that has none.
    """
    if is_remote(source):
        return [parse_remote(source)]
    cache = catalog.distributions.find_cache(source)
    if cache is not None:
        return [parse_remote(f"{cache.remote}/{source.removeprefix(f'{cache.path}/')}")]
    served = catalog.distributions.find(source)
    repository = served.repository if served and served.repository else source
    versions = sorted(catalog.history.versions(repository), key=lambda one: one.number, reverse=True)
    for version in versions[:_VERSIONS]:
        if remotes := remotes_of(version.origins):
            return list(dict.fromkeys(one.repository_only() for one in remotes))
    raise RemoteUnknown(f"{source} has no upstream: expected a mirror, a path of a cache, or registry.example/team/app")


def watched_name(remote: Remote) -> str:
    """Return the name by which a repository is remembered, whatever scheme it is asked by."""
    return f"{registry_name(remote.host)}/{remote.reference.repository}"
