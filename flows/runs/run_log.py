"""What a run reports besides its result: remarks, and how much was moved for what."""

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from flows.runs.metering import Meter

_Key = TypeVar("_Key", bound=Hashable)


class RunLog(Generic[_Key]):
    """Remarks and meters of one run. Tries that fail count too, so that the meters tell what has really been moved."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.moved: dict[_Key, Meter] = {}

    def note(self, text: str) -> None:
        """Add a remark to the result: nothing failed, but somebody should know."""
        if text not in self.notes:
            self.notes.append(text)

    def meter(self, key: _Key) -> Meter:
        """Return the meter of a key, such as a tag."""
        return self.moved.setdefault(key, Meter())

    def charge(self, moved: Mapping[_Key, Meter]) -> None:
        """Add what was moved for each key."""
        for key, moved_now in moved.items():
            total = self.meter(key)
            total.items += moved_now.items
            total.bytes += moved_now.bytes
