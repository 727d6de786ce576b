"""A repository's versions some at a time, each with its pin, and since when its manifests are there; one query for each."""

from dataclasses import dataclass

from catalog.lake.connection import Lake
from catalog.versions.history import VERSION_COLUMNS, version_of
from catalog.versions.rows import VersionRow

_READ = f"""
SELECT {VERSION_COLUMNS}, pin.note AS pin FROM versions
LEFT JOIN (SELECT version AS number, any_value(note) AS note FROM pins WHERE repository = $repository GROUP BY version) pin
    USING (number)
WHERE repository = $repository AND number < $before ORDER BY number DESC LIMIT $limit"""


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A version, and the note of its pin; None: it is not pinned."""

    row: VersionRow
    pin: str | None


def read_versions(lake: Lake, repository: str, *, before: int, limit: int) -> list[ListedVersion]:
    """Return versions with numbers below `before`, newest first; none for a repository that is not there."""
    rows = lake.read(_READ, {"repository": repository, "before": before, "limit": limit})
    return [ListedVersion(version_of(row[:-1]), None if row[-1] is None else str(row[-1])) for row in rows]
