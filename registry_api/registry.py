"""What every handler works with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from catalog.catalog import Catalog
from catalog.distributions import Distribution
from catalog.pulls import PullCounter
from catalog.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import NameUnknown
from registry_api.access import Gate
from registry_api.fetches import Fetches
from registry_api.limits import RateLimit
from registry_api.recent import Recent
from registry_api.threads import Threads


@dataclass(frozen=True, slots=True)
class Registry:
    """The catalogue, the gate before it, the threads to use it on, the clock and ids that a push needs, what is fetched from
    upstream, and how many requests one caller may make."""

    catalog: Catalog
    gate: Gate
    threads: Threads
    now: Callable[[], datetime]
    make_id: Callable[[], str]
    fetches: Fetches
    rate: RateLimit
    opened: "Recent[Digest, None]" = field(default_factory=lambda: Recent(10_000))
    """Blobs whose folders the system has in memory, so that opening them again takes no disk."""
    warned: "Recent[str, None]" = field(default_factory=lambda: Recent(1_000))
    """The patterns of quotas whose soft limit is known to be exceeded."""
    described: "Recent[tuple[Digest, str], bytes]" = field(default_factory=lambda: Recent(20_000))
    """The descriptors of referrers, as JSON, by digest and media type."""

    pulls: PullCounter = field(default_factory=PullCounter)
    """The pulls that are not written yet."""

    async def find_distribution(self, path: str) -> Distribution | None:
        """What is served at a path, as all processes know it by now; None for nothing."""
        if not self.catalog.is_current():
            await self.threads.run(self.catalog.refresh)
        return self.catalog.distributions.find(path)

    def rights_path(self, path: str) -> str:
        """The path whose rights hold for one: for the past of a path that path, else itself; no I/O."""
        past = self.catalog.past.parse(path)
        return path if past is None or self.catalog.distributions.find_cache(path) else past.path

    def is_public(self, path: str) -> bool:
        """Whether anybody may pull from a path: from a public distribution, or below a public cache; no I/O."""
        found = self.catalog.distributions.find(path) or self.catalog.distributions.find_cache(path)
        return found is not None and not found.private

    async def find_served(self, path: str) -> Snapshot | None:
        """The version that a path serves; None when nothing is served there."""
        cached = self.catalog.cached_served(path)
        return cached if cached is not None else await self.threads.run(self.catalog.find_served, path)

    async def served(self, path: str) -> Snapshot:
        """The version that a path serves; raise NameUnknown."""
        found = await self.find_served(path)
        if found is None:
            raise NameUnknown(f"no repository {path!r} here")
        return found

    def is_held(self, name: str, snapshot: Snapshot | None, digest: Digest) -> bool:
        """Whether a repository may use a blob: the version served has received it, or it was uploaded or mounted for it."""
        return self.catalog.rights.has_received(snapshot or Snapshot(name, 0), digest)
