"""Warns, each hour, of public caches that share their login with everybody."""

import asyncio
import logging

from catalog.catalog import Catalog
from catalog.remotes.cache_logins import SharedLogin, shared_logins
from catalog.remotes.clients import make_keychain
from oci.errors import EntrepotError
from registry_api.context import Registry

log = logging.getLogger("registry_api")
_EVERY = 3600.0


async def report_shared_logins(registry: Registry) -> None:
    """Log a warning for each public cache whose login nobody has declared to be shared, for ever."""
    while True:
        try:
            for cache in await registry.threads.run(_shared_logins, registry.catalog):
                log.warning(
                    "a public cache uses a login, so that everybody may pull what that login may path=%s remote=%s login=%s; "
                    "run `entrepot distribution set %s --private`, or --public if that is intended",
                    cache.path, cache.remote, cache.login, cache.path,
                )  # fmt: skip
        except (EntrepotError, OSError) as error:
            log.error("looking for logins of caches failed error=%s", error)  # noqa: TRY400
        await asyncio.sleep(_EVERY)


def _shared_logins(catalog: Catalog) -> list[SharedLogin]:
    return list(shared_logins(catalog.distributions, make_keychain(catalog.settings), catalog.remotes))
