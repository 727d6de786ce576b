"""Where a repository can fetch blobs that its versions name and that came without their bytes: on demand, or passed through.

A source belongs to the repository that left the blob there. Others that name the same blob have to fetch it from their own.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Literal, cast

import pyarrow as pa

from catalog.lake.connection import Lake, listed
from catalog.lake.nested_values import fit_number
from catalog.versions.snapshot import Snapshot
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

MAX_CLAIM = 1 << 40
"""Bytes that a manifest may claim for a blob that is left upstream; a larger one is taken for an attack."""

_COLUMNS = {
    "repository": pa.string(), "version": pa.int64(), "digest": pa.string(), "size": pa.int64(),
    "remote": pa.string(), "policy": pa.string(),
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


@dataclass(frozen=True, slots=True)
class Deferred:
    """A blob that a version names and that is left upstream, and the size that a manifest claims for it."""

    digest: Digest
    size: int
    origin: Origin


def source_rows(repository: str, version: int, deferred: Iterable[Deferred], now: datetime) -> list[Row]:
    """The rows of table `sources` that a version brings."""
    return [(repository, version, one.digest, one.size, one.origin.remote, one.origin.policy, now) for one in deferred]


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
        self._found: OrderedDict[tuple[str, int, Digest], tuple[BlobSource, ...]] = OrderedDict()
        self._guard = threading.Lock()

    def find(self, snapshot: Snapshot, digest: Digest, others: Iterable[Digest] = ()) -> tuple[BlobSource, ...]:
        """Where the version's repository can fetch a blob, what was written last first; empty for nowhere.

        What is not in memory takes one query, which looks for `others` too: who asks for one layer asks for more.
        """
        known = self.remembered(snapshot, digest)
        if known:
            return known
        wanted = [str(digest), *islice((str(one) for one in others), _ASKED_FOR)]
        rows = self._lake.read(
            "SELECT digest, remote, policy FROM sources WHERE repository = ? AND version <= ? "
            "AND digest IN (SELECT unnest(string_split(?, ' '))) GROUP BY ALL ORDER BY digest, max(created_at) DESC",
            [snapshot.repository, snapshot.version, listed(wanted)],
        )
        found: dict[Digest, list[BlobSource]] = {}
        for one, remote, policy in rows:
            found.setdefault(Digest(str(one)), []).append(_read_source(remote, policy))
        name, version = snapshot.repository, snapshot.version
        with self._guard:
            self._found.update(((name, version, one), tuple(places)) for one, places in found.items())
            while len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        return tuple(found.get(digest, ()))

    def remembered(self, snapshot: Snapshot, digest: Digest) -> tuple[BlobSource, ...]:
        """The same without a query: empty when memory knows of none."""
        key = (snapshot.repository, snapshot.version, digest)
        with self._guard:
            known = self._found.get(key, ())
            if known:
                self._found.move_to_end(key)
            return known

    def of_all(self, digest: Digest) -> dict[str, tuple[BlobSource, ...]]:
        """Where each repository can fetch a blob, what was written last first; for upkeep. One query."""
        rows = self._lake.read(
            "SELECT repository, remote, policy FROM sources WHERE digest = ? "
            "GROUP BY ALL ORDER BY repository, max(created_at) DESC",
            [digest],
        )
        found: dict[str, tuple[BlobSource, ...]] = {}
        for repository, remote, policy in rows:
            found[str(repository)] = (*found.get(str(repository), ()), _read_source(remote, policy))
        return found

    def origin_of(self, snapshot: Snapshot) -> BlobSource | None:
        """Where a version's repository left blobs last, None where it left none; one query."""
        rows = self._lake.read(
            "SELECT remote, policy FROM sources WHERE repository = ? AND version <= ? ORDER BY created_at DESC LIMIT 1",
            [snapshot.repository, snapshot.version],
        )
        return _read_source(*rows[0]) if rows else None


def _read_source(remote: object, policy: object) -> BlobSource:
    return BlobSource(parse_remote(str(remote)), cast("Policy", policy))
