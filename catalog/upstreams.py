"""Upstreams as the settings say they are to be spoken to."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from catalog.settings import Settings
from oci.errors import SettingsInvalid
from oci.remote.address import Remote
from oci.remote.keychain import Credential, Keychain, login_files
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport

_KEPT = 1000
"""Repositories whose connections are kept."""


@asynccontextmanager
async def open_upstream(settings: Settings, remote: Remote) -> AsyncIterator[RemoteRepository]:
    """Open the remote's repository, with the login that settings or login files have for it; raise SettingsInvalid."""
    async with Upstreams(settings) as upstreams:
        yield await upstreams.repository(remote)


class Upstreams:
    """Connections to upstreams, kept for the repositories asked for last; an async context manager.

    Each repository has its own, for each may have another login. Use it within one event loop.
    """

    def __init__(self, settings: Settings) -> None:
        self._keychain, self._options = make_keychain(settings), remote_options(settings)
        self._kept: OrderedDict[str, RemoteTransport] = OrderedDict()

    async def repository(self, remote: Remote, *, for_push: bool = False) -> RemoteRepository:
        """Speak for a remote's repository, with the login that there is for it now."""
        key = str(remote.repository_only())
        if key not in self._kept:
            made = await asyncio.to_thread(self._connect, remote)  # it reads certificates
            self._kept.setdefault(key, made)
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)  # not closed: a copy may be using it; it closes when that one ends
        return RemoteRepository(self._kept[key], remote.reference.repository, for_push=for_push)

    def _connect(self, remote: Remote) -> RemoteTransport:
        reference = remote.reference
        return RemoteTransport(
            reference.registry,
            scheme=remote.scheme,
            options=self._options,
            find_credential=lambda: self._keychain.find(reference.registry, reference.repository),
        )

    async def close(self) -> None:
        """Close all connections."""
        for transport in self._kept.values():
            await transport.close()
        self._kept.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def remote_options(settings: Settings) -> RemoteOptions:
    """The settings that concern upstreams."""
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise SettingsInvalid(f"ENTREPOT_CA_FILE is {settings.ca_file}, which is not a file")
    return RemoteOptions(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        total_timeout=settings.total_timeout,
        attempts=settings.upstream_attempts,
        connections=settings.copy_concurrency,
        proxy=settings.proxy,
        ca_file=settings.ca_file,
        insecure_registries=settings.insecure_registries,
    )


def make_keychain(settings: Settings) -> Keychain:
    """Logins of ENTREPOT_LOGINS first, then those of the files that podman and docker keep."""
    logins: dict[str, Credential] = {}
    for host, secret in settings.logins.items():
        username, colon, password = secret.get_secret_value().partition(":")
        if not colon or not username:
            raise SettingsInvalid(f"ENTREPOT_LOGINS: the login of {host} must have the form user:password")
        logins[host] = Credential(username, password)
    return Keychain(logins, login_files(os.environ, first=settings.auth_file, uid=os.getuid()))
