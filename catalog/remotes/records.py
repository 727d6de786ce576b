"""Remotes: how the registries are spoken to that content comes from; one record for each registry, or for a part of its names.

A record holds no secret: the values of headers, and a proxy with a password, are references to where they are read.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from catalog.blobs.origins import Policy
from catalog.lake.connection import Lake
from catalog.lake.first_use import ReadAtFirstUse
from catalog.lake.nested_values import as_nested, to_text
from catalog.state.shared_state import SharedState
from oci.errors import InvalidInput, RemoteUnknown
from oci.reference import Reference, parse_registry, registry_name
from oci.remote.limits.rate import parse_rate
from oci.remote.mirrors.record import parse_mirror

Row = tuple[object, ...]
_COLUMNS = (
    "key, created_at, updated_at, description, policy, proxy, ca_file, client_cert, client_key, headers, concurrency, "
    "mirrors, rate, bandwidth, lookaside"
)
_SELECTED = _COLUMNS.replace("headers", as_nested("remotes", "headers"))
NO_PROXY = "none"
"""The proxy of a remote that is reached directly whatever the settings say."""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS = frozenset(
    {"accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "range"}
    | {"transfer-encoding", "upgrade"}
)
REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")
_PROXY = re.compile(r"(https?|socks5h?)://[^/@\s]+/?")
_MOST = 1000


@dataclass(frozen=True, slots=True)
class RemoteRecord:
    """How one registry is spoken to; what is empty or 0 is as the settings say.

    `key` is `registry[:port][/prefix]`. `headers` are names with references, `env:NAME` or `file:PATH`; `proxy` is a URL, such a
    reference, or `none`. `concurrency` is requests at a time and `bandwidth` bytes a second, both of one process; `rate` is
    requests in a time, of all processes together. `mirrors` are registries, each perhaps with `,digest-only`. `lookaside` is the
    URL below which the Atomic signatures of its images lie.
    """

    key: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    policy: Policy | Literal[""] = ""
    proxy: str = ""
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    concurrency: int = 0
    mirrors: tuple[str, ...] = ()
    rate: str = ""
    bandwidth: int = 0
    lookaside: str = ""

    @property
    def prefix(self) -> str:
        """The part of names at the registry that the record is for; empty for all."""
        return self.key.partition("/")[2]


def parse_key(text: str) -> str:
    """Read the key of a record, Docker Hub's by any of its names; raise NameInvalid."""
    host, prefix = parse_registry(text)
    return f"{host}/{prefix}" if prefix else host


def check_record(record: RemoteRecord) -> RemoteRecord:
    """Return a record that can be kept; raise InvalidInput, which repeats no value that may be a secret."""
    for name, reference in record.headers:
        if not _HEADER.fullmatch(name) or name.lower() in _OURS:
            raise InvalidInput(f"the header {name[:100]!r} cannot be set; logins go into auth.json or ENTREPOT_LOGINS")
        if not REFERENCE.fullmatch(reference):
            raise InvalidInput(f"the value of header {name} must be a reference, env:NAME or file:/PATH, not the value")
    proxy = record.proxy
    if proxy not in ("", NO_PROXY) and not REFERENCE.fullmatch(proxy) and not _PROXY.fullmatch(proxy):
        raise InvalidInput(
            "the proxy must be http://host:port or https://host:port; one with a password is named by a reference, "
            "env:NAME or file:/PATH; `none` is for no proxy at all"
        )
    if record.client_key and not record.client_cert:
        raise InvalidInput("a client key needs its certificate")
    for path in (record.ca_file, record.client_cert, record.client_key):
        if path and not path.startswith("/"):
            raise InvalidInput(f"{path[:200]!r} is no absolute path")
    if record.policy and record.policy not in get_args(Policy):
        raise InvalidInput(
            f"invalid download policy {record.policy[:40]!r}: expected one of {', '.join(get_args(Policy))}"
        )
    if record.rate:
        parse_rate(record.rate)
    if record.lookaside:
        from oci.remote.signatures.lookaside import parse_lookaside  # few records need its HTTP client

        parse_lookaside(record.lookaside)
    for mirror in map(parse_mirror, record.mirrors):
        if "@" in mirror.place:
            raise InvalidInput("a mirror is a registry without a login, tag or digest")
    if max(len(record.description), len(record.headers), len(record.mirrors)) > _MOST:
        raise InvalidInput(f"a remote has {_MOST} characters of description, headers and mirrors at most")
    return record


def select_record(records: Mapping[str, RemoteRecord], reference: Reference) -> RemoteRecord | None:
    """The record for a place on a registry: that of the longest prefix, by whole parts of the name."""
    if not records:
        return None
    key = f"{registry_name(reference.registry)}/{reference.repository}"
    while key:
        if key in records:
            return records[key]
        key = key.rpartition("/")[0]
    return None


class Remotes(ReadAtFirstUse):
    """All records in memory; usable from any thread. `state` has what machines share beside the records: budgets."""

    _by_key: Mapping[str, RemoteRecord]

    def __init__(self, lake: Lake, state: SharedState | None = None) -> None:
        self._lake, self.state = lake, state
        self._guard = threading.RLock()

    def reload(self) -> None:
        """Read them again, in one query; what is written meanwhile waits, since it is newer."""
        with self._guard:
            found = [_read(row) for row in self._lake.read(f"SELECT {_SELECTED} FROM remotes")]
            self._by_key = {one.key: one for one in found}

    def all(self) -> list[RemoteRecord]:
        """Every record by key, in ASCII order."""
        by_key = self._by_key
        return [by_key[key] for key in sorted(by_key)]

    def select(self, reference: Reference) -> RemoteRecord | None:
        """The record that is for a place on a registry; no I/O."""
        return select_record(self._by_key, reference)

    def find(self, key: str) -> RemoteRecord | None:
        """The record of a key; no I/O."""
        return self._by_key.get(key)

    def get(self, key: str) -> RemoteRecord:
        """The record of a key; raise RemoteUnknown."""
        found = self._by_key.get(key)
        if found is None:
            raise RemoteUnknown(f"nothing is recorded about {key!r}; `entrepot remote list` shows all remotes")
        return found

    def put(self, made: RemoteRecord, *, actor: str) -> None:
        """Write a record, in place of the one of its key; durable on return. Raise InvalidInput."""
        check_record(made)
        self.ensure_read()
        with self._lake.write() as writer:
            writer.delete("remotes", "key", made.key)
            writer.insert("remotes", [_row(made)])
            writer.describe(actor, f"remote {made.key}"[:1000], remotes=True)
        self.reload()  # others may have written the same record since

    def delete(self, key: str, *, actor: str) -> None:
        """Forget a record: the registry is spoken to as the settings say. Raise RemoteUnknown."""
        self.get(key)
        with self._lake.write() as writer:
            writer.delete("remotes", "key", key)
            writer.describe(actor, f"remote {key} deleted"[:1000], remotes=True)
        self.reload()


def _row(one: RemoteRecord) -> Row:
    return (
        one.key, one.created_at, one.updated_at, one.description, one.policy, one.proxy, one.ca_file, one.client_cert,
        one.client_key, {}, one.concurrency, list(one.mirrors), one.rate, one.bandwidth, one.lookaside,
        to_text(dict(one.headers)),
    )  # fmt: skip


def _read(row: Row) -> RemoteRecord:
    fields: dict[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    fields |= {"headers": tuple(fields["headers"].items()), "mirrors": tuple(fields["mirrors"])}
    return RemoteRecord(**fields)
