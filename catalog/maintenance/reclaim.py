"""Reclaiming space: the bytes of blobs go that can be fetched again from where they came on demand; versions keep naming them."""

from collections.abc import Collection, Iterable, Sequence

from catalog.blobs.index import BlobIndex, BlobRecord
from catalog.blobs.local_store import BlobStore
from catalog.lake.connection import Lake
from catalog.lake.nested_values import as_nested
from catalog.lake.reading import listed
from oci.digest import Digest

_LOCKED_BATCH = 200
"""Blobs removed in one hold of the write lock, so that pushes wait for moments only."""

_RECLAIMABLE = """
SELECT digest FROM (
    SELECT digest, list(DISTINCT repository) AS repositories, bool_and(is_left) AS is_left FROM (
        SELECT repository, digest, (repository, digest) IN (SELECT (repository, digest) FROM sources
            WHERE policy = 'on_demand') AS is_left
        FROM changes
        WHERE kind = 'blob' AND action = 'add' AND digest IN (SELECT digest FROM sources WHERE policy = 'on_demand'){among})
    GROUP BY digest
) WHERE is_left AND list_has_all(string_split(?, ' '), repositories)"""
"""Each repository that names such a blob must have a source of its own for it."""

_PULLED = f"""
WITH recent AS (SELECT DISTINCT repository, digest FROM pulls WHERE last_pulled_at >= make_timestamptz(?::BIGINT))
SELECT DISTINCT unnest({as_nested("records", "children")}).digest FROM records WHERE kind = 'manifest' AND action = 'add' AND
    ((repository, digest) IN (SELECT (repository, digest) FROM recent)
        OR repository IN (SELECT repository FROM recent WHERE digest = ''))"""
"""What manifests have that were pulled since a time; the pulls of a repository that could not be told apart are of all it has."""


class Reclaimer:
    """Forgets bytes that upstream has too, of repositories that were chosen for it."""

    def __init__(self, lake: Lake, blob_index: BlobIndex, store: BlobStore) -> None:
        self._lake, self._blob_index, self._store = lake, blob_index, store

    def find(self, repositories: Collection[str], *, since: float) -> list[BlobRecord]:
        """The blobs in the store that came on demand, that no other repository's version holds, and that neither a lease nor a
        pull since a Unix time protects; the largest first."""
        sizes = self._blob_index.sizes(self._candidates(repositories, since))
        held = [BlobRecord(digest, size) for digest, size in sizes.items()]
        return sorted(self._blob_index.without_lease(held, since=since), key=lambda blob: -blob.size)

    def reclaim(self, blobs: Sequence[BlobRecord], repositories: Collection[str], *, since: float) -> list[BlobRecord]:
        """Forget the bytes of those blobs that `find` would still find; return which they were."""
        freed: list[BlobRecord] = []
        for start in range(0, len(blobs), _LOCKED_BATCH):
            batch = blobs[start : start + _LOCKED_BATCH]
            with self._lake.write():
                still = self._candidates(repositories, since, [blob.digest for blob in batch])
                freed += self._blob_index.give_up([blob for blob in batch if blob.digest in still], since=since)
            self._blob_index.remove_left(self._store)
        return freed

    def _candidates(
        self, repositories: Iterable[str], since: float, among: Sequence[Digest] | None = None
    ) -> set[Digest]:
        parameters: list[object] = [listed(repositories)]
        if among is not None:
            parameters.insert(0, listed(among))
        sql = _RECLAIMABLE.format(among="" if among is None else " AND digest IN (SELECT unnest(string_split(?, ' ')))")
        found = {Digest(str(row[0])) for row in self._lake.read(sql, parameters)}
        pulled = self._lake.read(_PULLED, [int(since * 1_000_000)]) if found else ()
        return found.difference(str(row[0]) for row in pulled)
