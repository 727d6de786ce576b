"""Audit events: who did what to what, and who was refused. Pushes and deletions are versions, whose rows say so themselves.

What an administrator does is written with it; the rest is noted in memory and written once a second.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from catalog.lake.insertion import Row
from catalog.lake.write_parts import write_in_parts
from oci.unicode import clean_text, plain_text

if TYPE_CHECKING:
    from catalog.lake.connection import Lake

Outcome = Literal["done", "refused"]
_AT_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    """`action` is a verb such as `login`, `pull` or `create-user`; `name` what it was done to, often a path."""

    happened_at: datetime
    actor: str
    action: str
    name: str
    outcome: Outcome = "done"
    reason: str = ""
    address: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)


def event_row(event: Event) -> Row:
    """The row of table `acts`; texts that somebody else has written are made fit for it."""
    detail = json.dumps(dict(event.detail), default=str) if event.detail else ""
    return (
        event.happened_at,
        clean_text(event.actor),
        clean_text(event.action),
        clean_text(event.name),
        event.outcome,
        clean_text(event.reason),
        clean_text(event.address),
        detail,
    )


def plain_event(event: Event) -> Event:
    """The event in a form that nothing can be wrong with, without its detail."""
    return replace(
        event,
        actor=plain_text(event.actor),
        action=plain_text(event.action),
        name=plain_text(event.name),
        reason=plain_text(event.reason),
        address=plain_text(event.address),
        detail={"cut": True},
    )


class Events:
    """Writes and reads the table `acts`; usable from any thread."""

    def __init__(self, lake: "Lake") -> None:
        self._lake = lake
        self._waiting: deque[Event] = deque()
        self._guard, self._flushing = threading.Lock(), threading.Lock()
        self._lost = 0

    def note(self, event: Event) -> None:
        """Keep an event until `flush`; no I/O. Beyond 10,000 that wait, only their number is kept."""
        with self._guard:
            if len(self._waiting) < _AT_MOST:
                self._waiting.append(event)
            else:
                self._lost += 1

    @property
    def waits(self) -> bool:
        """Return whether `flush` has something to write."""
        return bool(self._waiting)

    def flush(self, now: Callable[[], datetime]) -> int:
        """Write what waits; return how many. What cannot be written waits on, and keeps nothing else from being written."""
        with self._flushing:
            with self._guard:
                batch = list(self._waiting)
                lost = self._lost
            if not batch:
                return 0
            if lost:
                batch.append(Event(now(), "", "drop-events", "", reason=f"{lost} more events came than could be kept"))
            refused = self._write(batch)
            with self._guard:
                for _ in range(len(batch) - bool(lost)):
                    self._waiting.popleft()
                self._waiting.extendleft(reversed(refused))
                self._lost -= lost
            return len(batch) - len(refused)

    def _write(self, batch: Sequence[Event]) -> list[Event]:
        """Write events; return those that are refused even in their plain form. Raise when nothing can be written."""
        if len(batch) == 1:
            try:
                self.record(batch)
            except Exception:  # noqa: BLE001  # it may be the event: its plain form tells
                self.record([plain_event(batch[0])])
            return []
        refused = write_in_parts(batch, self.record)
        return write_in_parts(refused, self._record_plain) if refused else []

    def _record_plain(self, events: Sequence[Event]) -> None:
        self.record([plain_event(event) for event in events])

    def record(self, events: Sequence[Event]) -> None:
        """Write events; durable on return."""
        rows = [event_row(event) for event in events]
        with self._lake.write() as writer:
            writer.insert("acts", rows)
            actors = ", ".join(dict.fromkeys(event.actor for event in events))
            writer.describe(clean_text(actors, longest=200), f"{len(rows)} event(s)", acts=len(rows))

    def latest(
        self,
        *,
        limit: int = 100,
        actor: str = "",
        name: str = "",
        action: str = "",
        outcome: str = "",
        since: datetime | None = None,
    ) -> list[Event]:
        """The newest events, the last first; versions that somebody made are among them. `since` a time it is much quicker."""
        wanted = {"actor": actor, "name": name, "action": action, "outcome": outcome}
        given: dict[str, object] = {column: value for column, value in wanted.items() if value}
        where = "".join(f" AND {column} = ?" for column in given)
        if since is not None:
            where += " AND happened_at >= ?"
            given["happened_at"] = since
        rows = self._lake.read(
            f"SELECT happened_at, actor, action, name, outcome, reason, address, detail FROM events WHERE true{where} "
            "ORDER BY happened_at DESC LIMIT ?",
            [*given.values(), limit],
        )
        return [event_of(row) for row in rows]


def event_of(row: Row) -> Event:
    """The event of a row."""
    happened_at, actor, action, name, outcome, reason, address, detail = row
    assert isinstance(happened_at, datetime)
    return Event(
        happened_at,
        str(actor or ""),
        str(action),
        str(name),
        "refused" if outcome == "refused" else "done",
        str(reason or ""),
        str(address or ""),
        json.loads(str(detail)) if detail else {},
    )
