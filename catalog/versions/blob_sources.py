"""Where a version's repository can fetch the blobs that came without their bytes."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import cast

from catalog.blobs.origins import BlobSource, Policy
from catalog.lake.connection import Lake
from catalog.lake.reading import listed
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.remote.address import parse_remote

_ASKED_FOR, _REMEMBERED = 2_000, 50_000
"""Blobs that one query looks for, and whose sources are kept in memory."""


class Sources:
    """The table of sources, and in memory those asked for last; usable from any thread."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._found: OrderedDict[tuple[str, int, Digest], tuple[BlobSource, ...]] = OrderedDict()
        self._guard = threading.Lock()

    def find(self, snapshot: Snapshot, digest: Digest, others: Iterable[Digest] = ()) -> tuple[BlobSource, ...]:
        """Return where the version's repository can fetch a blob, what was written last first; empty for nowhere.

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
        """Return where each repository can fetch a blob, what was written last first; for maintenance. One query."""
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
        """Return where a version's repository left blobs last, None where it left none; one query."""
        rows = self._lake.read(
            "SELECT remote, policy FROM sources WHERE repository = ? AND version <= ? ORDER BY created_at DESC LIMIT 1",
            [snapshot.repository, snapshot.version],
        )
        return _read_source(*rows[0]) if rows else None


def _read_source(remote: object, policy: object) -> BlobSource:
    return BlobSource(parse_remote(str(remote)), cast("Policy", policy))
