"""An upstream as the settings say it is to be spoken to."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from catalog.settings import Settings
from oci.errors import SettingsInvalid
from oci.remote.address import Remote
from oci.remote.keychain import Credential, Keychain, login_files
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport


@asynccontextmanager
async def open_upstream(settings: Settings, remote: Remote) -> AsyncIterator[RemoteRepository]:
    """Open the remote's repository, with the login that settings or login files have for it; raise SettingsInvalid."""
    reference, keychain = remote.reference, make_keychain(settings)
    transport = RemoteTransport(
        reference.registry,
        scheme=remote.scheme,
        options=remote_options(settings),
        find_credential=lambda: keychain.find(reference.registry, reference.repository),
    )
    async with transport:
        yield RemoteRepository(transport, reference.repository)


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
