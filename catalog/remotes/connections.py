"""Connections to one remote, and repositories over them. It loads the HTTP client, some 10 MB: import it for the first remote."""

import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple

from catalog.remotes.options import unusable
from catalog.remotes.records import RemoteRecord
from oci.errors import SettingsInvalid
from oci.remote.address import Remote
from oci.remote.auth.keychain import Credential
from oci.remote.limits.traffic import Traffic
from oci.remote.mirrors.health import HealthBook
from oci.remote.mirrors.repository import MirroredRepository, Place
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.signatures.lookaside import Lookaside
from oci.remote.signatures.repository import SignedRepository
from oci.remote.transport import RemoteTransport


class Mirrored(NamedTuple):
    """A mirror that is connected to: its repository's name, and whether it is asked for digests alone."""

    transport: RemoteTransport
    repository: str
    digest_only: bool


def connect(
    remote: Remote,
    record: RemoteRecord | None,
    options: RemoteOptions,
    traffic: Traffic,
    health: HealthBook,
    find_credential: Callable[[], Credential | None],
    *,
    only_basic: bool = False,
) -> RemoteTransport:
    """Return a connection, with the certificates read; raise RemoteUnusable or SettingsInvalid."""
    registry = remote.reference.registry
    try:
        return RemoteTransport(
            registry,
            scheme=remote.scheme,
            options=options,
            only_basic=only_basic,
            traffic=traffic,
            report=lambda error: health.note(registry, error),
            find_credential=find_credential,
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


def repository_over(
    transport: RemoteTransport, name: str, mirrors: Sequence[Mirrored], health: HealthBook, *, for_push: bool = False
) -> RemoteRepository:
    """Return a repository over its connection, which asks the mirrors first where there are any."""
    origin = RemoteRepository(transport, name, for_push=for_push)
    if not mirrors:
        return origin
    places = [Place(RemoteRepository(one.transport, one.repository), one.digest_only) for one in mirrors]
    return MirroredRepository(origin, places, health)


def signed_repository(repository: RemoteRepository, base: str, name: str) -> SignedRepository:
    """Return a repository with its Atomic signatures, those at the lookaside address `base` too where there is one."""
    return SignedRepository(repository, Lookaside(repository.transport, base, name) if base else None)
