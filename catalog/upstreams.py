"""Upstreams as the settings and their records say they are to be spoken to."""

import asyncio
import os
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import NamedTuple, Self

from catalog.remote_options import Stamps, file_stamps, record_options, settings_options, unusable
from catalog.remotes import RemoteRecord, Remotes
from catalog.settings import Settings
from oci.errors import SettingsInvalid
from oci.remote.address import Remote
from oci.remote.keychain import Credential, Keychain, login_files
from oci.remote.repository import RemoteRepository
from oci.remote.traffic import Traffic
from oci.remote.transport import RemoteTransport

_KEPT = 1000
"""Repositories whose connections are kept."""


class _Key(NamedTuple):
    """What makes a connection another one: a record that was changed, or a file that it names, means a new one."""

    remote: Remote
    record: RemoteRecord | None
    stamps: Stamps


@asynccontextmanager
async def open_upstream(settings: Settings, remotes: Remotes, remote: Remote) -> AsyncIterator[RemoteRepository]:
    """Open the remote's repository, with the login that settings or login files have for it; raise SettingsInvalid."""
    async with Upstreams(settings, remotes) as upstreams:
        yield await upstreams.repository(remote)


class Upstreams:
    """Connections to upstreams, kept for the repositories asked for last; an async context manager.

    Each repository has its own, for each may have another login. Use it within one event loop.
    """

    def __init__(self, settings: Settings, remotes: Remotes) -> None:
        self._keychain, self._options, self._remotes = make_keychain(settings), settings_options(settings), remotes
        self._kept: OrderedDict[_Key, RemoteTransport] = OrderedDict()
        self._traffic: dict[RemoteRecord, Traffic] = {}

    async def repository(self, remote: Remote) -> RemoteRepository:
        """Speak for a remote's repository, with the login and the record that there are for it now; raise RemoteUnusable."""
        return RemoteRepository(await self._transport(remote), remote.reference.repository)

    async def new_transport(self, remote: Remote, *, only_basic: bool = False) -> RemoteTransport:
        """A further connection, which the caller closes; `only_basic` is for other APIs at the same host."""
        key = self._key(remote)
        return await asyncio.to_thread(self._connect, key, self._traffic_of(key.record), only_basic=only_basic)

    def _key(self, remote: Remote) -> _Key:
        record = self._remotes.select(remote.reference)
        return _Key(remote.repository_only(), record, file_stamps(record) if record else ())

    async def _transport(self, remote: Remote) -> RemoteTransport:
        """The connection that a repository is spoken to by."""
        key = self._key(remote)
        if key not in self._kept:
            traffic = self._traffic_of(key.record)
            made = await asyncio.to_thread(self._connect, key, traffic)  # it reads certificates
            self._kept.setdefault(key, made)
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)  # not closed: a copy may be using it; it closes when that one ends
        return self._kept[key]

    def _traffic_of(self, record: RemoteRecord | None) -> Traffic:
        """What all connections share that a record is for."""
        if record is None:
            return Traffic()
        return self._traffic.setdefault(record, Traffic(concurrency=record.concurrency))

    def _connect(self, key: _Key, traffic: Traffic, *, only_basic: bool = False) -> RemoteTransport:
        reference, record = key.remote.reference, key.record
        options = record_options(self._options, record, os.environ) if record else self._options
        try:
            return RemoteTransport(
                reference.registry,
                scheme=key.remote.scheme,
                options=options,
                only_basic=only_basic,
                traffic=traffic,
                find_credential=lambda: self._keychain.find(reference.registry, reference.repository),
            )
        except (ssl.SSLError, OSError) as error:
            if record is None:
                raise SettingsInvalid(f"ENTREPOT_CA_FILE cannot be used: {type(error).__name__}") from None
            raise unusable(record, "its certificates cannot be used") from None
        except ValueError:  # httpx does not name the value, and neither do we: it may hold a password
            raise (
                unusable(record, "its proxy cannot be used")
                if record
                else SettingsInvalid("ENTREPOT_PROXY is no URL of a proxy")
            ) from None

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


def make_keychain(settings: Settings) -> Keychain:
    """Logins of ENTREPOT_LOGINS first, then those of the files that podman and docker keep."""
    logins: dict[str, Credential] = {}
    for host, secret in settings.logins.items():
        username, colon, password = secret.get_secret_value().partition(":")
        if not colon or not username:
            raise SettingsInvalid(f"ENTREPOT_LOGINS: the login of {host} must have the form user:password")
        logins[host] = Credential(username, password)
    return Keychain(logins, login_files(os.environ, first=settings.auth_file, uid=os.getuid()))
