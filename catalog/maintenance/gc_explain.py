"""Why a blob stays or goes: what `entrepot gc --explain` says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.blobs.index import Link
from catalog.maintenance.impact import Impact
from catalog.units import format_time
from oci.digest import Digest
from oci.remote.address import Remote


@dataclass(frozen=True, slots=True)
class GcExplanation:
    """What is known of a blob: bytes in the store (None: not held), the versions that need it, the leases on it, whether it was
    left upstream, the upstreams that a scrub asks for it, and why it was set aside if it was. `grace` is in seconds, `now` a Unix
    time."""

    digest: Digest
    size: int | None
    impacts: Sequence[Impact]
    leases: Sequence[Link]
    fetchable: bool
    upstreams: Sequence[Remote]
    set_aside: str
    grace: float
    now: float

    @property
    def is_freed(self) -> bool:
        """Return whether the next garbage collection frees it."""
        return self.size is not None and not self.impacts and not self._young()

    def _young(self) -> list[Link]:
        return [lease for lease in self.leases if lease.linked_at >= self.now - self.grace]

    def reasons(self) -> list[str]:
        """Every reason for which it stays, or the one for which it goes or is not here."""
        said = [f"held by version {impact.versions} of {impact.repository}" for impact in self.impacts]
        for lease in self._young():
            until = datetime.fromtimestamp(lease.linked_at + self.grace, UTC)
            said.append(f"leased to {lease.repository} until {format_time(until.replace(microsecond=0))}")
        if self.size is None:
            where = "can be fetched when asked for" if self.fetchable else "not held here"
            said.insert(0, f"damaged and set aside: {self.set_aside}" if self.set_aside else where)
            if self.upstreams:
                said.append(f"a scrub asks for it: {', '.join(map(str, self.upstreams))}")
        elif not said:
            ended = max((lease.linked_at + self.grace for lease in self.leases), default=None)
            old = f", and the last lease ended {format_time(datetime.fromtimestamp(int(ended), UTC))}" if ended else ""
            said.append(f"no version holds it{old}: garbage collection frees it")
        return said
