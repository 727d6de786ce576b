"""How upstreams are spoken to; the flows make one of the settings."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """Times in seconds; `attempts` counts the first try; `connections` bounds what one remote holds open."""

    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    total_timeout: float = 3600.0
    attempts: int = 5
    connections: int = 16
    proxy: str = ""
    ca_file: Path | None = None
    insecure_registries: tuple[str, ...] = ()
