"""Connection options of a remote, from the settings and its record."""

import math
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Times in seconds; `attempts` counts the first try; `connections` bounds what one remote holds open.

    Without a byte for `silence_timeout`, tries included, a remote is given up. Redirects and the like may lead to addresses of an
    internal network where `internal_hosts` names them.

    A Retry-After longer than `retry_patience` is not waited for.

    `ca_file` is trusted for all remotes, `own_ca_file` for this one besides. `direct` is for no proxy, whatever the environment
    names. The client certificate and `headers`, which may hold secrets, are shown to the registry itself and to no other host.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    total_timeout: float = 3600.0
    silence_timeout: float = 120.0
    attempts: int = 5
    connections: int = 16
    retry_patience: float = math.inf
    proxy: str = field(default="", repr=False)
    direct: bool = False
    ca_file: Path | None = None
    own_ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    insecure_registries: tuple[str, ...] = ()
    internal_hosts: tuple[str, ...] = ()
