"""What commands list of repositories, versions and tags; no more of the catalogue is loaded for it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from catalog.lake.reading import Readable
from catalog.pull_counts import PullCounts, read_pull_counts
from catalog.versions.rows import TAGS_OF_ONE, sort_members
from catalog.versions.snapshot import Snapshot, version_unknown
from oci.errors import NameUnknown

if TYPE_CHECKING:
    from catalog.versions.history import History
    from catalog.versions.pins import Pin

_LATEST = "SELECT max(version) FROM records WHERE repository = ? AND kind = 'version'"


class Reader:
    """Reads the catalogue; loads the modules of each question when it is asked."""

    def __init__(self, lake: Readable) -> None:
        self._lake = lake

    @property
    def history(self) -> "History":
        """Return what tells of repositories and versions."""
        from catalog.versions.history import History

        return History(self._lake)

    def tagged(self, name: str, version: int | None = None) -> Snapshot:
        """Return a version, by default the latest, without its blobs; raise NameUnknown or VersionUnknown."""
        ((latest,),) = self._lake.read(_LATEST, [name])
        if latest is None:
            raise NameUnknown(f"no repository {name!r} here")
        number = int(str(latest)) if version is None else version
        if number == 0:
            return Snapshot(name, 0)
        rows = self._lake.read(TAGS_OF_ONE, [name, number, number])
        if not any(row[0] == "version" for row in rows):
            raise version_unknown(name, number, int(str(latest)))
        return Snapshot(name, number, *sort_members(rows))

    def pulls(self, name: str) -> PullCounts:
        """Return the pulls of a repository."""
        return read_pull_counts(self._lake, name)

    def pins(self, name: str) -> "Sequence[Pin]":
        """Return the pins of a repository, by version."""
        from catalog.versions.pins import read_pins

        return read_pins(self._lake, name)
