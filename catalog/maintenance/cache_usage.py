"""What caches have brought, and when it was used last; reads only."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import cast

from catalog.blobs.index import BlobIndex, BlobRecord
from catalog.distributions.records import Distributions
from catalog.lake.connection import Lake
from catalog.lake.reading import listed
from catalog.lake.schema import PULLS_SINCE
from catalog.maintenance.cache_eviction import UsedBlob, Uses
from catalog.pull_counts import Pulls, sum_pulls
from oci.digest import Digest

_BROUGHT = """
SELECT DISTINCT repository FROM versions WHERE starts_with(repository, ?) AND operation = 'pull-through' ORDER BY repository"""

_COUNTED_SINCE = "SELECT min(applied_at) FROM schema_versions WHERE number = ?"

_MEMBERS = """
SELECT members.repository, kind, tag, digest, created_at FROM members
JOIN versions ON versions.repository = members.repository AND number = since
WHERE kind <> 'blob' AND members.repository IN (SELECT unnest(string_split(?, ' ')))"""

_BLOBS = """
WITH pulled AS (
    SELECT repository, digest, max(last_pulled_at) AS at FROM pulls
    WHERE repository IN (SELECT unnest(string_split($1, ' '))) GROUP BY ALL),
parts AS (
    SELECT DISTINCT repository, parent, digest FROM descriptors WHERE repository IN (SELECT unnest(string_split($1, ' ')))),
used AS (
    SELECT parts.digest, max(pulled.at) AS at FROM parts
    JOIN pulled ON pulled.repository = parts.repository AND pulled.digest IN (parts.parent, '') GROUP BY parts.digest)
SELECT held.digest, used.at, is_received FROM (
    SELECT digest, bool_or((repository, digest) NOT IN (SELECT (repository, digest) FROM sources)) AS is_received
    FROM changes
    WHERE action = 'add' AND kind <> 'tag' AND repository IN (SELECT unnest(string_split($1, ' ')))
    GROUP BY digest) AS held
LEFT JOIN used USING (digest)"""


_LIVE = """
SELECT repository, digest FROM members
WHERE kind = 'blob' AND repository IN (SELECT unnest(string_split(?, ' ')))"""


class CacheContents:
    """Reads what lies below caches; usable from any thread."""

    def __init__(self, lake: Lake, blob_index: BlobIndex, distributions: Distributions, pulls: Pulls) -> None:
        self._lake, self._blob_index, self._distributions, self._pulls = lake, blob_index, distributions, pulls

    def repositories(self, path: str) -> list[str]:
        """The repositories that a cache has brought, by name; not those of caches below it. One query."""
        found = [str(row[0]) for row in self._lake.read(_BROUGHT, [f"{path}/"])]
        return [name for name in found if (cache := self._distributions.find_cache(name)) and cache.path == path]

    def uses(self, names: Collection[str], now: datetime) -> Mapping[str, Uses]:
        """Return when the tags and manifests of repositories were used last, brought by a version or pulled. Three queries.

        What was pulled before pulls were counted at all is not known, and taken to have been used until then.
        """
        counted_since = cast("datetime | None", self._lake.read(_COUNTED_SINCE, [PULLS_SINCE])[0][0]) or now
        sums = {name: sum_pulls(counts) for name, counts in self._pulls.read(names).items()}
        nothing = sum_pulls({})
        tags: dict[str, dict[str, datetime]] = {}
        manifests: dict[str, dict[Digest, datetime]] = {}
        for name, kind, tag, digest, brought in self._lake.read(_MEMBERS, [listed(names)]):
            pulls, since = sums.get(str(name), nothing), max(cast("datetime", brought), counted_since)
            if kind == "tag":
                last = pulls.last_of_tag(str(tag), str(digest))
                tags.setdefault(str(name), {})[str(tag)] = max(last or since, since)
            else:
                last = pulls.last_of_manifest(str(digest))
                manifests.setdefault(str(name), {})[Digest(digest)] = max(last or since, since)
        return {name: Uses(now, tags.get(name, {}), manifests.get(name, {})) for name in names}

    def blobs(self, names: Iterable[str]) -> list[UsedBlob]:
        """The blobs and manifests in the store that versions of these repositories hold, each with its last use. One query."""
        wanted, found = set(names), list[UsedBlob]()
        for digest, pulled, is_received in self._lake.read(_BLOBS, [listed(wanted)]):
            kept = self._blob_index.ingested(str(digest))
            is_theirs = is_received or not wanted.isdisjoint(self._blob_index.repositories_of(str(digest)))
            if kept is not None and is_theirs:  # others may hold what these only name
                fetched = datetime.fromtimestamp(kept[1], UTC)
                last = max(fetched, cast("datetime", pulled)) if pulled else fetched
                found.append(UsedBlob(BlobRecord(Digest(digest), kept[0]), last))
        return found

    def live_blobs(self, names: Iterable[str]) -> set[tuple[str, Digest]]:
        """The blobs that the latest versions of these repositories hold, each with its repository. One query."""
        return {(str(name), Digest(digest)) for name, digest in self._lake.read(_LIVE, [listed(names)])}
