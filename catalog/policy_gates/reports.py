"""Reports of what gates by policies have refused, or would have, out of the audit events that tell it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from catalog.audit import Event, Events, Outcome
from catalog.policy.gate_rules import GatePoint
from catalog.policy_gates.decisions import GateFinding
from catalog.units import format_time
from oci.digest import Digest

_ACTIONS = {"refuse": "policy-refuse", "warn": "policy-warn", "dry-run": "policy-dry-run"}
ACTIONS = tuple(_ACTIONS.values())
"""Actions of the audit events that tell it."""

ONCE_IN = timedelta(hours=1)
"""How often a digest at a path is told of."""

_LONGEST = timedelta(days=3650)

MOST_EVENTS = 10_000
"""Events of one action that a report reads, the newest."""


@dataclass(frozen=True, slots=True)
class ReportedRefusal:
    """A digest that a policy refuses at a path: the mode of the gate, where it was met, the last reason, and how many requests.

    Requests of the last hour may not be counted yet.
    """

    path: str
    digest: str
    policy: str
    mode: str
    at: str
    reason: str
    requests: int
    first: datetime
    last: datetime

    def to_json(self) -> dict[str, object]:
        """Return it for the API and for `--json`."""
        return {
            "path": self.path,
            "digest": self.digest,
            "policy": self.policy,
            "mode": self.mode,
            "at": self.at,
            "reason": self.reason,
            "requests": self.requests,
            "first": format_time(self.first),
            "last": format_time(self.last),
        }


def finding_event(
    finding: GateFinding, point: GatePoint, name: str, digest: Digest, *, requests: int, actor: str, now: datetime
) -> Event:
    """Return the audit event that tells what a gate has found about a digest, `name` being its path or repository. Pure."""
    detail = {
        "digest": str(digest),
        "policy": finding.policy,
        "mode": finding.mode,
        "at": point,
        "outcome": finding.outcome,
        "requests": requests,
    }
    outcome: Outcome = "refused" if finding.mode == "refuse" else "done"
    return Event(now, actor, _ACTIONS[finding.mode], name, outcome, finding.reason[:1000], detail=detail)


def report_start(now: datetime, span: timedelta) -> datetime:
    """Return when a report of so long begins; ten years ago at the earliest. Pure."""
    return now - min(span, _LONGEST)


def read_refusals(events: Events, since: datetime) -> list[ReportedRefusal]:
    """Return what gates have refused since, or would have; of the newest events of each mode."""
    found = [one for action in ACTIONS for one in events.latest(limit=MOST_EVENTS, action=action, since=since)]
    return sum_up_refusals(found)


def sum_up_refusals(events: Iterable[Event]) -> list[ReportedRefusal]:
    """Return what events tell, by path and digest, the most requests first. Pure."""
    found: dict[tuple[str, ...], ReportedRefusal] = {}
    for event in sorted(events, key=lambda one: one.happened_at):
        if event.action not in ACTIONS:
            continue
        told = {name: str(event.detail.get(name, "")) for name in ("digest", "policy", "mode", "at")}
        count = event.detail.get("requests", 1)
        requests = count if isinstance(count, int) else 1
        key = (event.name, *told.values())
        known = found.get(key)
        if known is None:
            when = event.happened_at
            found[key] = ReportedRefusal(
                event.name, **told, reason=event.reason, requests=requests, first=when, last=when
            )
        else:
            found[key] = replace(known, reason=event.reason, requests=known.requests + requests, last=event.happened_at)
    return sorted(found.values(), key=lambda one: (-one.requests, one.path, one.digest))
