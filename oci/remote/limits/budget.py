"""Request budgets: how many requests an upstream allows, by its headers and by configuration, and how long to wait.

Sources: Docker Hub, "Usage and limits"; the IETF drafts of the fields RateLimit and RateLimit-Policy; RFC 9110 section 10.2.3.
Times are in seconds since the epoch, for several processes share them.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from oci.reference import DOCKER_HUB
from oci.remote.limits.rate import Rate

RESERVED = 5
"""One in so many of the allowed requests is left to clients who wait."""

_SLOTS = 60
_CLOSED_AT_MOST = 86400.0
_CALM_FIRST, _CALM_LONGEST, _UNTOLD = 15.0, 900.0, 60.0


@dataclass(frozen=True, slots=True)
class AnnouncedLimit:
    """The limit in one response: requests allowed in `window` seconds, those that remain, seconds to a reset; 0 for unknown."""

    limit: int
    remaining: int
    window: float = 0.0
    reset: float = 0.0


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of an upstream, as far as it is known.

    `limit` is 0 where the upstream announces none. Until `closed_until` nothing is requested (`closed_all`: not even what is not
    counted), until `calm_until` nothing by syncs. `sent` counts requests by part of the configured rate's time.
    """

    limit: int = 0
    remaining: int = 0
    told_at: float = 0.0
    window: float = 0.0
    resets_at: float = 0.0
    closed_until: float = 0.0
    closed_all: bool = False
    calm_until: float = 0.0
    strikes: int = 0
    sent: tuple[tuple[int, int], ...] = ()


def is_counted(host: str, method: str, path: str) -> bool:
    """Return whether a request counts: at Docker Hub only a GET of a manifest, elsewhere each."""
    return host != DOCKER_HUB or (method == "GET" and "/manifests/" in path)


def read_rate_limit(headers: Mapping[str, str], now: float) -> AnnouncedLimit | None:
    """Read `RateLimit-Limit: 100;w=21600` and kin, with or without X-, or `RateLimit: "name";r=50;t=30`; None for neither."""
    for prefix in ("ratelimit-", "x-ratelimit-"):
        limit, remaining = headers.get(f"{prefix}limit", ""), headers.get(f"{prefix}remaining", "")
        allowed, left = _first(limit), _first(remaining)
        if left is not None:
            window = _item(limit, "w") or _item(remaining, "w") or 0
            reset = float(_first(headers.get(f"{prefix}reset", "")) or 0)
            return AnnouncedLimit(allowed or left, left, float(window), max(0.0, reset - now) if reset > 1e9 else reset)
    found = headers.get("ratelimit", "")
    items = [item for item in found.split(",") if _item(item, "r") is not None]
    if not items:
        return None
    item = min(items, key=lambda one: _item(one, "r") or 0)
    name = item.partition(";")[0].strip()
    policies = [one for one in headers.get("ratelimit-policy", "").split(",") if one.partition(";")[0].strip() == name]
    policy = policies[0] if policies else ""
    left = _item(item, "r") or 0
    return AnnouncedLimit(
        _item(policy, "q") or left, left, float(_item(policy, "w") or 0), float(_item(item, "t") or 0)
    )


def _first(text: str) -> int | None:
    found = re.match(r"\s*([0-9]{1,12})", text)
    return int(found[1]) if found else None


def _item(text: str, name: str) -> int | None:
    found = re.search(rf";\s*{name}=([0-9]{{1,12}})", text)
    return int(found[1]) if found else None


def remaining_at(budget: Budget, now: float) -> float:
    """Return how many requests remain by now: all after the announced reset, else they come back evenly over the window."""
    if budget.resets_at:
        return float(budget.limit if now >= budget.resets_at else budget.remaining)
    back = (now - budget.told_at) * budget.limit / budget.window if budget.window else 0.0
    return min(float(budget.limit), budget.remaining + max(0.0, back))


def plan_wait(budget: Budget, *, now: float, counted: bool, interactive: bool, rate: Rate | None = None) -> float:
    """Return the seconds before the next request may be sent.

    Interactive clients wait only for the configured rate and for a Retry-After; syncs leave them one in RESERVED requests.
    """
    waits = [0.0]
    if counted or budget.closed_all:
        waits.append(budget.closed_until - now)
    if counted and rate is not None:
        reserve = 0 if interactive else rate.requests // RESERVED
        waits.append(_wait_for_rate(budget, now, rate, reserve))
    if counted and not interactive:
        waits.append(budget.calm_until - now)
        waits.append(_wait_for_quota(budget, now))
    return max(waits)


def _wait_for_quota(budget: Budget, now: float) -> float:
    missing = budget.limit // RESERVED + 1 - remaining_at(budget, now) if budget.limit else 0.0
    if missing <= 0:
        return 0.0
    if budget.resets_at:
        return budget.resets_at - now
    return missing * budget.window / budget.limit if budget.window else max(0.0, budget.told_at + _UNTOLD - now)


def _wait_for_rate(budget: Budget, now: float, rate: Rate, reserve: int) -> float:
    """Requests are counted in parts of the time, and a part leaves as a whole, so that no time ever has more than was set."""
    part = rate.seconds / _SLOTS
    current = math.floor(now / part)
    sent = sorted((slot, count) for slot, count in budget.sent if current - _SLOTS <= slot <= current)
    excess = sum(count for _, count in sent) + 1 - (rate.requests - reserve)
    for slot, count in sent:
        if excess <= 0:
            break
        excess -= count
        if excess <= 0:
            return (slot + _SLOTS + 1) * part - now
    return 0.0 if excess <= 0 else part


def after_sent(budget: Budget, *, now: float, rate: Rate | None = None) -> Budget:
    """Return the budget once a request that counts is on its way."""
    sent = budget.sent
    if rate is not None:
        current = math.floor(now / (rate.seconds / _SLOTS))
        counts = {slot: count for slot, count in sent if current - _SLOTS <= slot <= current}
        counts[current] = counts.get(current, 0) + 1
        sent = tuple(sorted(counts.items()))
    return replace(budget, remaining=max(0, budget.remaining - 1), sent=sent)


def after_response(
    budget: Budget,
    *,
    now: float,
    status: int,
    counted: bool,
    limits: AnnouncedLimit | None = None,
    retry_after: float | None = None,
    everywhere: bool = True,
) -> Budget:
    """Return the budget after a response; where it announces no limit, the request has not counted.

    `everywhere`: a refusal holds for all requests, and not only for those that count.
    """
    if limits is not None:
        resets_at = now + limits.reset if limits.reset else 0.0
        budget = replace(
            budget,
            limit=max(limits.limit, limits.remaining),
            remaining=limits.remaining,
            told_at=now,
            window=limits.window,
            resets_at=resets_at,
        )
    elif counted and budget.limit:
        budget = replace(budget, remaining=min(budget.limit, budget.remaining + 1))
    if status == 429:
        budget = replace(budget, strikes=min(budget.strikes + 1, 20))
    elif status < 400 and counted:
        budget = replace(budget, strikes=0)
    if status in (429, 503) and retry_after is not None:
        until = max(budget.closed_until, now + min(retry_after, _CLOSED_AT_MOST))
        return replace(budget, closed_until=until, closed_all=everywhere or not counted or status == 503)
    if status == 429:
        pause = min(_CALM_LONGEST, _CALM_FIRST * 2.0 ** (budget.strikes - 1))
        return replace(budget, calm_until=max(budget.calm_until, budget.resets_at, now + pause))
    return budget
