"""What the store holds, what repositories share, and what holding it once saves."""

from dataclasses import dataclass

from catalog.holdings import Holdings
from catalog.lake import Lake

_BY_REPOSITORY = """
WITH used AS (
    SELECT repository, digest, any_value(size) AS size FROM changes
    WHERE kind <> 'tag' AND action = 'add' GROUP BY repository, digest
), spread AS (
    SELECT digest, any_value(size) AS size, count(*) AS repositories FROM used GROUP BY digest
)
SELECT used.repository, sum(used.size),
    sum(CASE WHEN spread.repositories > 1 THEN used.size ELSE 0 END)
FROM used JOIN spread USING (digest) GROUP BY used.repository ORDER BY used.repository"""

_ONCE = """
SELECT coalesce(sum(size), 0) FROM (
    SELECT digest, any_value(size) AS size FROM changes WHERE kind <> 'tag' AND action = 'add' GROUP BY digest)"""

_SOURCES = "SELECT digest, any_value(size) FROM sources GROUP BY digest"


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
    """Sizes in bytes. `held`: all in the store; `used`: what some version holds, once; `upstream`: the part of that which is not
    in the store, for it is fetched when asked for; `loose`: what no version holds, which gc may free."""

    held: int
    blobs: int
    used: int
    upstream: int
    repositories: tuple[RepositoryUsage, ...]

    @property
    def loose(self) -> int:
        """Bytes that no version holds: uploads under way or left behind."""
        return max(self.held + self.upstream - self.used, 0)

    @property
    def saved(self) -> int:
        """Bytes that would be stored more if each repository had its own copy."""
        return sum(one.bytes for one in self.repositories) - self.used


def read_usage(lake: Lake, holdings: Holdings) -> Usage:
    """Count what is held; three queries over all changes."""
    repositories = tuple(
        RepositoryUsage(str(name), int(str(size)), int(str(shared))) for name, size, shared in lake.read(_BY_REPOSITORY)
    )
    used = int(str(lake.read(_ONCE)[0][0]))
    upstream = sum(int(str(size)) for digest, size in lake.read(_SOURCES) if holdings.size(str(digest)) is None)
    blobs, held = holdings.totals()
    return Usage(held, blobs, used, upstream, repositories)
