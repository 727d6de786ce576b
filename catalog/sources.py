"""Where blobs can be fetched that versions hold and the store does not: what came on demand or is only passed through."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Literal, cast

import pyarrow as pa

from catalog.lake import Lake, listed
from catalog.nested import fit_number
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.kinds import kind_of
from oci.manifest import Manifest
from oci.remote.address import Remote, parse_remote

Policy = Literal["immediate", "on_demand", "streamed"]
"""When layers are copied: with the sync; with the first request, and then kept; with each request, and never kept."""

Row = tuple[object, ...]
_ASKED_FOR, _REMEMBERED = 2_000, 50_000
"""Blobs that one query looks for, and whose sources are kept in memory."""

_COLUMNS = {
    "digest": pa.string(), "size": pa.int64(), "remote": pa.string(), "policy": pa.string(),
    "created_at": pa.timestamp("us", tz="UTC"),
}  # fmt: skip
_COMPANIONS = frozenset({"cosign-signature", "attestation", "sbom"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a copy came from that left layers behind, as `parse_remote` reads it, and what is to become of them."""

    remote: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class BlobSource:
    """One place from which a blob can be fetched."""

    remote: Remote
    policy: Policy


def parts_now(parts: Iterable[tuple[str, Descriptor]], manifest: Manifest) -> Iterator[tuple[str, Descriptor]]:
    """The parts that are copied at once whatever the policy: all but layers, and those of what belongs to an image.

    Signatures, attestations and SBOMs are small, and asked for when their image is judged, not when it is run.
    """
    is_companion = manifest.subject is not None or kind_of(manifest) in _COMPANIONS
    return ((role, part) for role, part in parts if is_companion or role != "layer" or part.size == UNKNOWN_SIZE)


def source_rows(deferred: Mapping[Digest, tuple[int, Origin]], now: datetime) -> list[Row]:
    """The rows of table `sources`, of blobs with their sizes and where each was left."""
    return [(digest, size, origin.remote, origin.policy, now) for digest, (size, origin) in deferred.items()]


def source_table(rows: Sequence[Row]) -> pa.Table:
    """Rows of `sources` as a table."""
    return pa.table(
        {
            name: pa.array([_fit(row[place]) for row in rows], kind)
            for place, (name, kind) in enumerate(_COLUMNS.items())
        }
    )


def _fit(value: object) -> object:
    return fit_number(value) if isinstance(value, int) else value


class Sources:
    """The table of sources, and in memory those asked for last; usable from any thread."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._found: OrderedDict[Digest, tuple[BlobSource, ...]] = OrderedDict()
        self._guard = threading.Lock()

    def find(self, digest: Digest, others: Iterable[Digest] = ()) -> tuple[BlobSource, ...]:
        """Where the blob can be fetched, what was written last first; empty for nowhere.

        What is not in memory takes one query, which looks for `others` too: who asks for one layer asks for more.
        """
        known = self.remembered(digest)
        if known:
            return known
        wanted = [str(digest), *islice((str(one) for one in others), _ASKED_FOR)]
        rows = self._lake.read(
            "SELECT digest, remote, policy FROM sources WHERE digest IN (SELECT unnest(string_split(?, ' '))) "
            "GROUP BY ALL ORDER BY digest, max(created_at) DESC",
            [listed(wanted)],
        )
        found: dict[Digest, list[BlobSource]] = {}
        for one, remote, policy in rows:
            found.setdefault(Digest(str(one)), []).append(BlobSource(parse_remote(str(remote)), cast("Policy", policy)))
        with self._guard:
            self._found.update((one, tuple(places)) for one, places in found.items())
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        return tuple(found.get(digest, ()))

    def remembered(self, digest: Digest) -> tuple[BlobSource, ...]:
        """The same without a query: empty when memory knows of none."""
        with self._guard:
            known = self._found.get(digest, ())
            if known:
                self._found.move_to_end(digest)
            return known

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob that can be fetched, else None."""
        rows = self._lake.read("SELECT any_value(size) FROM sources WHERE digest = ? HAVING count(*) > 0", [digest])
        return int(str(rows[0][0])) if rows else None

    def origin_of(self, blobs: Iterable[Digest]) -> BlobSource | None:
        """Where a repository with these blobs came from on demand, as far as some of them were left there; one query."""
        some = [str(one) for one in islice(blobs, _ASKED_FOR)]
        rows = self._lake.read(
            "SELECT remote, policy FROM sources WHERE digest IN (SELECT unnest(string_split(?, ' '))) "
            "ORDER BY created_at DESC LIMIT 1",
            [listed(some)],
        )
        return BlobSource(parse_remote(str(rows[0][0])), cast("Policy", rows[0][1])) if rows else None

    def is_empty(self) -> bool:
        """Whether all that versions hold is in the store."""
        return not self._lake.read("SELECT 1 FROM sources LIMIT 1")
