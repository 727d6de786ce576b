"""What gates by policies have refused, told as audit events: at once, then once an hour for a digest at a path."""

from collections.abc import Callable
from datetime import datetime

from catalog.audit import Events
from catalog.policy.gate_rules import GatePoint
from catalog.policy_gates.decisions import GateFinding
from catalog.policy_gates.reports import ONCE_IN, finding_event
from oci.digest import Digest
from registry_api.bounded_cache import BoundedCache

_KNOWN = 10_000

_Key = tuple[str, Digest, GatePoint, str, str]


class _Tally:
    """Requests that no event has told yet."""

    __slots__ = ("finding", "told_at", "waiting")

    def __init__(self, finding: GateFinding) -> None:
        self.told_at: datetime | None = None
        self.waiting = 0
        self.finding = finding


class PolicyTally:
    """Counts findings by path, digest, point, mode and policy; used on one event loop."""

    def __init__(self, events: Events, now: Callable[[], datetime]) -> None:
        self._events, self._now = events, now
        self._known: BoundedCache[_Key, _Tally] = BoundedCache(_KNOWN)

    def note(self, point: GatePoint, path: str, digest: Digest, finding: GateFinding, account: str = "") -> None:
        """Count one request; write an event where the last one is an hour old."""
        key = (path, digest, point, finding.mode, finding.policy)
        tally = self._known.get(key)
        if tally is None:
            tally = _Tally(finding)
            self._known.put(key, tally)
        tally.waiting += 1
        tally.finding = finding
        now = self._now()
        if tally.told_at is None or now - tally.told_at >= ONCE_IN:
            self._tell(key, tally, now, account)

    def flush(self, *, is_end: bool = False) -> None:
        """Tell what was counted since, of those whose last event is an hour old; at the end of the process of all."""
        now = self._now()
        for key, tally in self._known.items():
            if tally.waiting and (is_end or tally.told_at is None or now - tally.told_at >= ONCE_IN):
                self._tell(key, tally, now, "")

    def _tell(self, key: _Key, tally: _Tally, now: datetime, account: str) -> None:
        path, digest, point, _mode, _policy = key
        self._events.note(
            finding_event(tally.finding, point, path, digest, requests=tally.waiting, actor=account, now=now)
        )
        tally.told_at, tally.waiting = now, 0
