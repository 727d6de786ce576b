"""What people look through, by noun: the catalogue hands this out."""

from collections.abc import Iterable

from catalog.browse.lineage import LineageStep, read_lineage
from catalog.browse.manifest_summaries import ManifestSummaries, read_summaries
from catalog.browse.recent_versions import RecentVersionCache
from catalog.browse.version_pages import ListedVersion, read_versions
from catalog.lake.connection import Lake
from oci.digest import Digest


class Browse:
    """Reads what pages show; usable from any thread, and each method is one query."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.recent_versions = RecentVersionCache(lake)

    def summaries(self, repository: str, digests: Iterable[Digest]) -> ManifestSummaries:
        """Return summaries of some manifests of a repository, and its pulls."""
        return read_summaries(self._lake, repository, digests)

    def versions(self, repository: str, *, before: int, limit: int) -> list[ListedVersion]:
        """Return versions with numbers below `before`, newest first; none for a repository that is not there."""
        return read_versions(self._lake, repository, before=before, limit=limit)

    def lineage(self, digest: Digest, repositories: Iterable[str]) -> list[LineageStep]:
        """Return how a manifest came into repositories and went out of them, by time."""
        return read_lineage(self._lake, digest, repositories)
