"""What every handler works with."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime

from starlette.types import Scope

from catalog.access.policy import Caller
from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.pull_counts import PullCounter
from catalog.versions.snapshot import Snapshot
from catalog.versions.time_travel import Past
from oci.digest import Digest
from oci.errors import NameUnknown
from registry_api.auth.gate import Gate, address_of
from registry_api.auth.login_checks import address_key
from registry_api.auth.rate_limits import RateLimit
from registry_api.http.fair_queue import FairQueue
from registry_api.http.hosts import Hosts
from registry_api.http.response_cache import Answers
from registry_api.http.threads import Threads
from registry_api.lru import Recent
from registry_api.on_demand import Fetches


@dataclass(frozen=True, slots=True)
class Registry:
    """The catalogue, the gate before it, the threads to use it on, the clock and ids that a push needs, what is fetched from
    upstream, how many requests one caller may make, and by which names clients reach us."""

    catalog: Catalog
    gate: Gate
    threads: Threads
    now: Callable[[], datetime]
    make_id: Callable[[], str]
    fetches: Fetches
    rate: RateLimit
    hosts: Hosts
    opened: "Recent[Digest, None]" = field(default_factory=lambda: Recent(10_000))
    """Blobs whose folders the system has in memory, so that opening them again takes no disk."""
    warned: "Recent[str, None]" = field(default_factory=lambda: Recent(1_000))
    """The patterns of quotas whose soft limit is known to be exceeded."""
    described: "Recent[tuple[Digest, str], bytes]" = field(default_factory=lambda: Recent(20_000))
    """The descriptors of referrers, as JSON, by digest and media type."""

    readers: FairQueue = field(default_factory=lambda: FairQueue(8, waiting=64))
    """Turns of requests that read by the management API."""
    answers: Answers = field(default_factory=Answers)
    """Answers that cost much, kept while they hold."""

    pulls: PullCounter = field(default_factory=PullCounter)
    """The pulls that are not written yet."""

    async def find_distribution(self, path: str) -> Distribution | None:
        """Return what is served at a path, as all processes know it by now; None for nothing."""
        if not self.catalog.snapshots.is_current():
            await self.threads.run(self.catalog.snapshots.refresh)
        return self.catalog.distributions.find(path)

    def asker(self, caller: Caller, scope: Scope) -> str:
        """For whom what a request costs counts: an account, or an address where nobody has logged in."""
        return caller.account or address_key(address_of(scope))

    async def state(self, caller: Caller) -> Hashable:
        """Return what lists for a caller depend on: versions, distributions and rules as all processes know them by now."""
        await self.find_distribution("")
        access = self.gate.access
        return self.catalog.serving.state, access.policy and access.stamp, caller

    def rights_path(self, path: str) -> str:
        """The path whose rights hold for one: for the past of a path that path, else itself; no I/O."""
        past = self._past_of(path)
        return path if past is None else past.path

    def _past_of(self, path: str) -> Past | None:
        past = self.catalog.time_travel.parse(path)
        return None if past is None or self.catalog.distributions.find_cache(path) else past

    async def is_open(self, path: str) -> bool:
        """Whether anybody may pull from a path: from a public distribution, below a public cache, or from the past of either
        since it is public."""
        past = self._past_of(path)
        if past is None:
            found = self.catalog.distributions.find(path) or self.catalog.distributions.find_cache(path)
            return found is not None and not found.private
        if self.catalog.time_travel.needs_reading(past):
            return await self.threads.run(self.catalog.time_travel.is_open, past)
        return self.catalog.time_travel.is_open(past)

    async def may_pull(self, caller: Caller, path: str) -> bool:
        """Return whether a caller may pull from a path, of the past too."""
        rights = self.rights_path(path)
        who = caller if rights == path else caller.with_past(path, rights)
        return self.gate.decide(who, "pull", rights, public=await self.is_open(path)).allowed

    def shows_leases(self, caller: Caller, path: str) -> bool:
        """Return whether a path gives a caller what its repository has leased and no version of it holds yet; no I/O.

        A repository's own path that was always public shows them to everybody, others to those who push there: leases may be
        of what other paths and earlier days keep private. A path of the past or of a fixed version gives that version alone.
        """
        found = self.catalog.distributions.find(path)
        if (found is not None and found.version is not None) or self._past_of(path) is not None:
            return False
        if found is not None and not found.private and found.path == found.repository and found.history_from <= 1:
            return True
        return self.gate.decide(caller.unscoped, "push", path, public=False).allowed

    async def find_served(self, path: str) -> Snapshot | None:
        """The version that a path serves; None when nothing is served there."""
        cached = self.catalog.serving.cached(path)
        return cached if cached is not None else await self.threads.run(self.catalog.serving.find, path)

    async def served(self, path: str) -> Snapshot:
        """The version that a path serves; raise NameUnknown."""
        found = await self.find_served(path)
        if found is None:
            raise NameUnknown(f"no repository {path!r} here")
        return found

    def is_given(self, caller: Caller, path: str, repository: str, snapshot: Snapshot | None, digest: Digest) -> bool:
        """Whether a path that leads to a repository gives a caller a blob: the version served has received it, or it was uploaded
        or mounted there and the caller may push."""
        version = snapshot or Snapshot(repository, 0)
        if digest not in version.blobs and not self.shows_leases(caller, path):
            return False
        return self.catalog.rights.has_received(version, digest)
