"""Pins: versions that nobody may delete, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from catalog.audit import Event, event_row
from catalog.lake.reading import Readable
from oci.errors import Conflict, VersionUnknown

if TYPE_CHECKING:
    from catalog.lake.connection import Lake


@dataclass(frozen=True, slots=True)
class Pin:
    """A version that stays until it is unpinned; `note` says what for."""

    repository: str
    version: int
    note: str
    actor: str
    created_at: datetime


def read_pins(lake: Readable, name: str) -> Sequence[Pin]:
    """Return a repository's pins, by version."""
    rows = lake.read(
        "SELECT repository, version, note, actor, created_at FROM pins WHERE repository = ? ORDER BY version", [name]
    )
    return [Pin(*cast("tuple[Any, ...]", row)) for row in rows]


class Pins:
    """Reads and writes the table `pins`; usable from any thread."""

    def __init__(self, lake: "Lake") -> None:
        self._lake = lake

    def of(self, name: str) -> Sequence[Pin]:
        """A repository's pins, by version."""
        return read_pins(self._lake, name)

    def add(self, pin: Pin, *, address: str = "", anew: bool = False) -> None:
        """Pin a version, or note something else about it; durable on return. Raise VersionUnknown when it is not there.

        With `anew` raise Conflict when it is pinned already.
        """
        with self._lake.write() as writer:
            if anew and any(known.version == pin.version for known in self.of(pin.repository)):
                raise Conflict(f"version {pin.version} of {pin.repository} is pinned already")
            there = "SELECT 1 FROM versions WHERE repository = ? AND number = ?"
            if not self._lake.read(there, [pin.repository, pin.version]):
                raise VersionUnknown(f"{pin.repository} has no version {pin.version} that could be pinned")
            writer.execute("DELETE FROM pins WHERE repository = ? AND version = ?", [pin.repository, pin.version])
            writer.insert("pins", [(pin.repository, pin.version, pin.note, pin.actor, pin.created_at)])
            detail = {"version": pin.version, "note": pin.note}
            event = Event(pin.created_at, pin.actor, "pin-version", pin.repository, address=address, detail=detail)
            writer.insert("acts", [event_row(event)])
            writer.describe(pin.actor, f"pin version {pin.version} of {pin.repository}", acts=1)

    def remove(
        self, name: str, version: int, *, actor: str, now: datetime, address: str = "", expected: Pin | None = None
    ) -> None:
        """Let a version go; raise VersionUnknown when it is not pinned, Conflict when the pin is not the expected one, if any."""
        with self._lake.write() as writer:
            found = next((pin for pin in self.of(name) if pin.version == version), None)
            if found is None:
                raise VersionUnknown(f"version {version} of {name} is not pinned")
            if expected is not None and found != expected:
                raise Conflict(f"version {version} of {name} has been pinned anew by {found.actor}")
            writer.execute("DELETE FROM pins WHERE repository = ? AND version = ?", [name, version])
            event = Event(now, actor, "unpin-version", name, address=address, detail={"version": version})
            writer.insert("acts", [event_row(event)])
            writer.describe(actor, f"unpin version {version} of {name}", acts=1)
