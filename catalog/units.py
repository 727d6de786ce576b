"""Sizes, durations, ages and times as people write them: one parser and one text for each.

A size is a number of bytes with `kB`, `MB`, `GB`, `TB` (powers of 1000) or `KiB`, `MiB`, `GiB`, `TiB` (of 1024) behind it. A
duration is `90s`, `15m`, `12h`, `30d`, `4w`, or several of these, `1w2d`. An age is a duration before now, or a date and time.
"""

import re
from datetime import UTC, datetime, timedelta

from oci.errors import InvalidInput

_SIZE = re.compile(r"\s*+(\d{1,18}(?:\.\d{1,3})?)\s*+([kmgt]i?|)b?\s*+", re.IGNORECASE)
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_PART = r"(\d{1,9}(?:\.\d{1,3})?)([smhdw])"
GRACE = "24h"
"""How long content, leases and files are kept after their last use, where a form or command says nothing else."""
UNIT_SECONDS = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_size(text: str) -> int:
    """Return the bytes that `500`, `50MB`, `1.5 GB` or `2GiB` means; a unit is read in any case. Raises InvalidInput."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidInput(f"invalid size {text[:50]!r}: expected bytes, or such as 500MB, 10GB or 2GiB")
    number, factor = found[1], _BYTES[found[2].lower()]
    return int(number) * factor if number.isdigit() else int(float(number) * factor)


def format_size(count: float) -> str:
    """Return a number of bytes for people: `999 B`, `1.5 kB`, `2.0 GB` (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.95 or (unit == "B" and abs(count) < 1000):
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def parse_duration(text: str) -> timedelta:
    """Return the duration that `90s`, `15m`, `12h`, `30d`, `1w2d` or `0` means; raise InvalidInput."""
    found = _read_duration(text)
    if found is None:
        raise InvalidInput(f"invalid duration {text[:50]!r}: expected such as 90s, 12h, 30d or 1w2d")
    return found


def _read_duration(text: str) -> timedelta | None:
    if text == "0":
        return timedelta()
    if not re.fullmatch(f"(?:{_PART}){{1,20}}", text):
        return None
    try:
        return timedelta(seconds=sum(float(number) * UNIT_SECONDS[unit] for number, unit in re.findall(_PART, text)))
    except OverflowError:
        return None


def format_duration(duration: timedelta) -> str:
    """Return a duration as `parse_duration` reads it: `30d`, `4w`, `1d12h`; weeks where nothing is left over, `0s` for none."""
    parts: list[str] = []
    left = duration.total_seconds()
    for unit, length in UNIT_SECONDS.items():
        if unit == "w" and left % length:
            continue
        count = left // length if unit != "s" else round(left, 3)
        if count:
            parts.append(f"{count:.10g}{unit}")
        left -= count * length
    return "".join(parts) or "0s"


def parse_age(text: str) -> timedelta | datetime:
    """Return what an age means: the duration of `30d`, `12h` or `1w2d`, or the moment of `2026-01-31[T12:00[+01:00]]`.

    Raises InvalidInput.
    """
    duration = _read_duration(text)
    moment = None if duration is not None else _read_time(text)
    if duration is None and moment is None:
        raise InvalidInput(f"invalid age {text[:50]!r}: expected 30d, 12h or 2026-01-31")
    return duration if duration is not None else moment  # type: ignore[return-value]  # one of them is not None


def moment_of(age: str, now: datetime) -> datetime:
    """Return the moment that an age before `now`, or a date, is; the beginning of time for what lies before it."""
    parsed = parse_age(age)
    if isinstance(parsed, datetime):
        return parsed
    try:
        return now - parsed
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def parse_time(text: str) -> datetime:
    """Return the moment that `2026-01-31` or `2026-01-31T12:00:00Z` means, UTC unless it says otherwise; raise InvalidInput."""
    found = _read_time(text)
    if found is None:
        raise InvalidInput(f"invalid time {text[:50]!r}: expected 2026-01-31 or 2026-01-31T12:00:00Z")
    return found


def _read_time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def format_time(when: datetime) -> str:
    """Return a moment as RFC 3339 in UTC, `2026-01-31T12:00:00Z`, with a fraction of seconds only where there is one."""
    moment = when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    return f"{moment.replace(tzinfo=None).isoformat()}Z"
