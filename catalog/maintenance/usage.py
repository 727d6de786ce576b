"""What the store holds, what repositories share, and what holding it once saves."""

from dataclasses import dataclass
from typing import Any

from catalog.blobs.index import BlobIndex
from catalog.lake.connection import Lake
from catalog.lake.reading import listed

_LEFT_UPSTREAM = """left_upstream AS MATERIALIZED (
    SELECT unnest(string_split(?, ' ')) AS repository, unnest(string_split(?, ' ')) AS digest,
        nullif(unnest(string_split(?, ' ')), '')::BIGINT AS size,
        nullif(unnest(string_split(?, ' ')), '')::BOOLEAN AS is_received
)"""

_USED = """SELECT repository, digest, any_value(coalesce(left_upstream.size, changes.size)) AS size
    FROM changes LEFT JOIN left_upstream USING (repository, digest)
    WHERE kind <> 'tag' AND action = 'add' AND coalesce(left_upstream.is_received, true)
    GROUP BY repository, digest"""

_BY_REPOSITORY = f"""
WITH {_LEFT_UPSTREAM}, used AS ({_USED}), spread AS (
    SELECT digest, any_value(size) AS size, count(*) AS repositories FROM used GROUP BY digest
)
SELECT used.repository, sum(used.size),
    sum(CASE WHEN spread.repositories > 1 THEN used.size ELSE 0 END)
FROM used JOIN spread USING (digest) GROUP BY used.repository ORDER BY used.repository"""

_ONCE = f"""
WITH {_LEFT_UPSTREAM}, used AS ({_USED})
SELECT coalesce(sum(size), 0) FROM (SELECT digest, any_value(size) AS size FROM used GROUP BY digest)"""

_LEFT = "SELECT repository, digest, max(size) FROM sources GROUP BY repository, digest"


@dataclass(frozen=True, slots=True)
class RepositoryUsage:
    """Bytes of all versions of one repository, each blob counted once; `shared` are those that others hold too."""

    name: str
    bytes: int
    shared: int

    @property
    def own(self) -> int:
        """Bytes that only this repository holds: what deleting it could free."""
        return self.bytes - self.shared


@dataclass(frozen=True, slots=True)
class Usage:
    """Sizes in bytes. `held`: all in the store; `used`: what some version has received, once; `upstream`: what manifests claim of
    layers that are fetched when they are asked for, no part of `used`; `loose`: what no version holds, which gc may free."""

    held: int
    blobs: int
    used: int
    upstream: int
    repositories: tuple[RepositoryUsage, ...]

    @property
    def loose(self) -> int:
        """Bytes that no version holds: uploads under way or left behind."""
        return max(self.held - self.used, 0)

    @property
    def saved(self) -> int:
        """Bytes that would be stored more if each repository had its own copy."""
        return sum(one.bytes for one in self.repositories) - self.used


def read_usage(lake: Lake, blob_index: BlobIndex) -> Usage:
    """Count what is held; three queries over all changes."""
    left = [_left(blob_index, str(name), str(digest), int(str(size))) for name, digest, size in lake.read(_LEFT)]
    columns = [
        listed("" if one[name] is None else str(one[name]) for one in left)
        for name in ("repository", "digest", "size", "is_received")
    ]
    repositories = tuple(
        RepositoryUsage(str(name), int(str(size)), int(str(shared)))
        for name, size, shared in lake.read(_BY_REPOSITORY, columns)
    )
    used = int(str(lake.read(_ONCE, columns)[0][0]))
    claimed = {one["digest"]: one["claimed"] for one in left if not one["is_received"]}
    blobs, held = blob_index.totals()
    return Usage(held, blobs, used, sum(claimed.values()), repositories)


def _left(blob_index: BlobIndex, repository: str, digest: str, claimed: int) -> dict[str, Any]:
    """Return what is known of a blob that a repository left upstream: its size is a claim until it was received."""
    size = blob_index.size(digest) if blob_index.link(repository, digest) is not None else None
    return {
        "repository": repository,
        "digest": digest,
        "size": size,
        "claimed": claimed,
        "is_received": size is not None,
    }
