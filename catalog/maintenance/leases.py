"""What becomes of leases that are no longer young: most have done their service, some are the right itself.

1. A version holds the blob as received: the lease has done its service. 2. A version names the blob, and it came without its
bytes: the lease is the right to them, and stays. It does not keep the bytes. 3. No version holds the blob, and a manifest of the
repository names it: it was absent when the manifest came, and came later. The lease is made young again, and keeps the bytes.
4. Nothing needs the blob: the lease goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from catalog.blobs.index import BlobIndex
from catalog.lake.connection import Lake
from catalog.lake.reading import listed
from oci.digest import Digest

Lease = tuple[str, Digest]
_STEP = 5_000
"""Leases dropped or renewed in one transaction."""

_NAMED = """
WITH old_leases AS MATERIALIZED (
    SELECT unnest(string_split(?, ' ')) AS repository, unnest(string_split(?, ' ')) AS digest
)
SELECT DISTINCT old_leases.repository, old_leases.digest, sources.digest IS NOT NULL FROM old_leases
JOIN (SELECT DISTINCT repository, digest FROM records WHERE kind IN ('blob', 'manifest')
    AND digest IN (SELECT digest FROM old_leases)) AS named USING (repository, digest)
LEFT JOIN (SELECT DISTINCT repository, digest FROM sources) AS sources USING (repository, digest)"""

_PARTS = """
SELECT DISTINCT repository, digest FROM descriptors WHERE repository IN (SELECT unnest(string_split(?, ' ')))"""


@dataclass(slots=True)
class Settled:
    """`dropped`: how many leases went, or would; `renewed`: the blobs whose bytes leases go on to keep."""

    dropped: int = 0
    renewed: set[Digest] = field(default_factory=set)


def settle_leases(
    lake: Lake, blob_index: BlobIndex, *, before: float, now: float, renew: bool = True, drop: bool = True
) -> Settled:
    """Drop leases older than the Unix time `before` that have done their service, and renew those that keep bytes.

    Without `renew` and `drop` nothing is written.
    """
    settled = Settled()
    for batch in blob_index.old_links(before=before):
        deferred, done = _named(lake, batch)
        loose = set(batch) - deferred - done
        needed = _needed(lake, loose)
        going = sorted(done | (loose - needed))
        settled.dropped += len(going)
        settled.renewed |= {digest for _, digest in needed}
        for some in _steps(sorted(needed)) if renew else ():
            blob_index.renew_links(some, now=now)
        for some in _steps(going) if drop else ():
            blob_index.drop_links(some, before=before)
    return settled


def _named(lake: Lake, batch: Sequence[Lease]) -> tuple[set[Lease], set[Lease]]:
    """Those that versions name as left upstream, and those that they hold."""
    rows = lake.read(_NAMED, [listed(name for name, _ in batch), listed(str(digest) for _, digest in batch)])
    deferred = {(str(name), Digest(str(digest))) for name, digest, is_deferred in rows if is_deferred}
    return deferred, {(str(name), Digest(str(digest))) for name, digest, _ in rows} - deferred


def _needed(lake: Lake, loose: set[Lease]) -> set[Lease]:
    """Those that manifests of their repositories name."""
    if not loose:
        return set()
    rows = lake.read(_PARTS, [listed(sorted({name for name, _ in loose}))])
    return loose & {(str(name), Digest(str(digest))) for name, digest in rows}


def _steps(leases: Sequence[Lease]) -> list[Sequence[Lease]]:
    return [leases[start : start + _STEP] for start in range(0, len(leases), _STEP)]
