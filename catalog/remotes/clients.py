"""Upstreams as the settings and their records say they are to be spoken to."""

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from catalog.blobs.origins import BlobSource
from catalog.remotes.budget_stores import open_budget
from catalog.remotes.budgets import SHORT, SharedBudget
from catalog.remotes.options import Stamps, file_stamps, record_options, settings_options
from catalog.remotes.records import RemoteRecord, Remotes
from catalog.settings import Settings
from oci.errors import SettingsInvalid
from oci.reference import registry_name
from oci.remote.address import Remote
from oci.remote.auth.keychain import Credential, Keychain, login_files
from oci.remote.limits.rate import parse_rate
from oci.remote.limits.traffic import Traffic
from oci.remote.mirrors.health import HealthBook
from oci.remote.mirrors.record import mirrored, parse_mirror

if TYPE_CHECKING:
    from catalog.remotes.connections import Mirrored
    from oci.remote.repository import RemoteRepository
    from oci.remote.signatures.repository import SignedRepository
    from oci.remote.transport import RemoteTransport

_SHOWN_AFTER = 5.0
"""Seconds of silence after which it is said that an upstream is waited for."""

_KEPT = 1000
"""Repositories whose connections are kept."""


class _Key(NamedTuple):
    """What makes a connection another one: a record that was changed, or a file that it names, means a new one."""

    remote: Remote
    record: RemoteRecord | None
    stamps: Stamps


class Upstreams:
    """Connections to upstreams, kept for the repositories asked for last; an async context manager.

    Each repository has its own, for each may have another login. `interactive`: clients wait for what is asked; they go before
    syncs, and are told rather than kept waiting when upstream allows no more. Without a catalogue there are no `remotes`. Use it
    within one event loop. `concurrency` bounds requests at a time to one registry whose record does not; 0: each repository has
    its own bound.
    """

    def __init__(
        self, settings: Settings, remotes: Remotes | None, *, interactive: bool = False, concurrency: int = 0
    ) -> None:
        options = settings_options(settings)
        self._options = replace(options, retry_patience=SHORT) if interactive else options
        self._keychain, self._remotes = make_keychain(settings), remotes
        self._kept: OrderedDict[_Key, RemoteTransport] = OrderedDict()
        self._traffic: dict[tuple[str, RemoteRecord | None], Traffic] = {}
        self._budgets: list[SharedBudget] = []
        self._root, self._interactive, self._concurrency = settings.root, interactive, concurrency
        self._health = HealthBook()

    async def repository(self, remote: Remote, *, for_push: bool = False) -> "RemoteRepository":
        """Speak for a remote's repository, with the login and the record that there are for it now; raise RemoteUnusable.

        What is pushed goes to the remote itself, whatever mirrors it has.
        """
        transport, record = await self._transport(remote), self._record_of(remote)
        mirrors = [] if for_push or record is None else await self._mirrors(remote, record)
        from catalog.remotes.connections import repository_over  # loaded by the thread that has connected

        return repository_over(transport, remote.reference.repository, mirrors, self._health, for_push=for_push)

    async def signed(self, remote: Remote) -> "SignedRepository":
        """The same with the Atomic signatures of its manifests among what refers to them."""
        repository, record = await self.repository(remote), self._record_of(remote)
        from catalog.remotes.connections import signed_repository  # loaded by the thread that has connected

        return signed_repository(repository, record.lookaside if record else "", remote.reference.repository)

    async def _mirrors(self, remote: Remote, record: RemoteRecord) -> "list[Mirrored]":
        """The mirrors of a repository; each is spoken to as its own record says, whose mirrors do not count."""
        from catalog.remotes.connections import Mirrored  # loaded by the thread that has connected

        found = []
        for mirror in map(parse_mirror, record.mirrors):
            where = mirrored(mirror, remote.reference, record.prefix)
            found.append(Mirrored(await self._transport(where), where.reference.repository, mirror.digest_only))
        return found

    def in_order(self, sources: Iterable[BlobSource]) -> list[BlobSource]:
        """Sources of a blob in their order, those that have failed of late last."""
        return self._health.in_order(sources, lambda source: source.remote.host)

    async def new_transport(
        self,
        remote: Remote,
        *,
        only_basic: bool = False,
        anonymous: bool = False,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> "RemoteTransport":
        """A further connection, which the caller closes; `only_basic` is for other APIs at the same host.

        An `anonymous` one shows what any client would: no login, no client certificate, none of the record's headers. `headers`
        go to the registry alone; with an `Authorization` among them, no other login is sent.
        """
        key = self._key(remote)
        traffic = self._traffic_of(key.remote, key.record)
        return await asyncio.to_thread(
            self._connect, key, traffic, only_basic=only_basic, anonymous=anonymous, headers=headers
        )

    async def identity(self, remote: Remote) -> str:
        """Name, without telling it, who we are to a remote or a mirror of it: another text for another login; empty for nobody.

        A client certificate and the headers of a record count as a login, for they may open what others do not see.
        """
        record = self._record_of(remote)
        mirrors = record.mirrors if record else ()
        places = [
            remote,
            *(mirrored(parse_mirror(text), remote.reference, record.prefix) for text in mirrors if record),
        ]
        names = [name for place in places if (name := await asyncio.to_thread(self._name_shown, place))]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:8] if names else ""

    def _name_shown(self, remote: Remote) -> str:
        record = self._record_of(remote)
        shown = [f"certificate {record.client_cert}"] if record and record.client_cert else []
        shown += [f"header {name}" for name, _ in record.headers] if record else []
        login = self._keychain.find(remote.reference.registry, remote.reference.repository)
        return " ".join([*shown, *([f"login {login.username}"] if login else [])])

    def _record_of(self, remote: Remote) -> RemoteRecord | None:
        return self._remotes.select(remote.reference) if self._remotes else None

    def _key(self, remote: Remote) -> _Key:
        record = self._record_of(remote)
        return _Key(remote.repository_only(), record, file_stamps(record) if record else ())

    async def _transport(self, remote: Remote) -> "RemoteTransport":
        """The connection that a repository is spoken to by."""
        key = self._key(remote)
        if key not in self._kept:
            traffic = self._traffic_of(key.remote, key.record)
            made = await asyncio.to_thread(self._connect, key, traffic)  # it reads certificates
            self._kept.setdefault(key, made)
        self._kept.move_to_end(key)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)  # not closed: a copy may be using it; it closes when that one ends
        return self._kept[key]

    def _traffic_of(self, remote: Remote, record: RemoteRecord | None) -> Traffic:
        """Return what all connections share that a record is for, or to a registry without one."""
        name = record.key if record else registry_name(remote.host)
        if (name, record) not in self._traffic:
            budget = SharedBudget(
                open_budget(self._root, name, self._remotes.state if self._remotes else None),
                remote.host,
                interactive=self._interactive,
                rate=parse_rate(record.rate) if record and record.rate else None,
            )
            self._budgets.append(budget)
            self._traffic[name, record] = Traffic(
                concurrency=(record.concurrency if record else 0) or self._concurrency,
                bandwidth=record.bandwidth if record else 0,
                gate=budget,
            )
        return self._traffic[name, record]

    @property
    def waited(self) -> float:
        """Seconds that requests were held because upstreams allow no more, the longest of all upstreams."""
        return max((budget.waited for budget in self._budgets), default=0.0)

    @property
    def budgets(self) -> "Mapping[str, SharedBudget]":
        """Return the budgets of the upstreams that were spoken to, by registry."""
        return {budget.host: budget for budget in self._budgets}

    def waiting(self) -> str:
        """For whom requests have been waiting for some seconds without a byte, in words; empty for nobody."""
        silent = [(traffic.silence.seconds, name) for (name, _record), traffic in self._traffic.items()]
        seconds, name = max(silent, default=(0.0, ""))
        return f"waiting for {name} for {seconds:.0f} s" if seconds >= _SHOWN_AFTER else ""

    def _connect(
        self,
        key: _Key,
        traffic: Traffic,
        *,
        only_basic: bool = False,
        anonymous: bool = False,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> "RemoteTransport":
        reference, record = key.remote.reference, key.record
        options = record_options(self._options, record, os.environ) if record else self._options
        if anonymous:
            options = replace(options, client_cert=None, client_key=None, headers=())
        options = replace(options, headers=(*options.headers, *headers))
        has_login = any(name.lower() == "authorization" for name, _value in headers)
        from catalog.remotes.connections import connect  # on a thread: it loads the HTTP client

        def find_credential() -> Credential | None:
            return None if anonymous or has_login else self._keychain.find(reference.registry, reference.repository)

        return connect(key.remote, record, options, traffic, self._health, find_credential, only_basic=only_basic)

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
