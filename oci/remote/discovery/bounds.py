"""How much of what a registry lists is held: it may list anything, and as much as it likes."""

from oci.errors import RemoteCorrupt

MOST_ENTRIES = 1_000_000
MOST_REMARKS = 1_000


class EntryTally:
    """Counts the entries of a registry's lists; of all that are read with the same tally."""

    def __init__(self, host: str) -> None:
        self._host, self.count = host, 0

    def add(self, count: int) -> None:
        """Count further entries; raise RemoteCorrupt beyond MOST_ENTRIES."""
        self.count += count
        self.check()

    def check(self) -> None:
        """Raise RemoteCorrupt where there were too many: it ends all reading, not that of one list."""
        if self.count > MOST_ENTRIES:
            raise RemoteCorrupt(f"lists more than {MOST_ENTRIES} entries", registry=self._host)


class BoundedRemarks(list[str]):
    """Keeps the first MOST_REMARKS that are appended; then a last one has the number of the others."""

    def __init__(self) -> None:
        super().__init__()
        self._others = 0

    def append(self, remark: str) -> None:
        """Take a remark."""
        if len(self) < MOST_REMARKS:
            super().append(remark)
            return
        self._others += 1
        self[MOST_REMARKS:] = [f"{self._others} more remarks are not shown"]


class BoundedReasons(dict[str, str]):
    """Keeps the first MOST_REMARKS names with their reasons; then a last entry has the number of the others."""

    def __init__(self) -> None:
        super().__init__()
        self._others = 0

    def __setitem__(self, name: str, reason: str) -> None:
        if name in self or len(self) < MOST_REMARKS:
            super().__setitem__(name, reason)
            return
        self._others += 1
        super().__setitem__("and others", f"{self._others} more are not named")
