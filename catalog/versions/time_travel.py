"""Time travel: below a reserved path any version of what a path serves, by number or date (docs/adr/0012-history.md).

`history/12/team/app` is version 12 of what `team/app` serves, `history/2026-11-01/team/app` the version that was the latest when
that day ended (UTC), `history/2026-11-01t12.30.05z/team/app` that of a second.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from catalog.distributions.records import Distribution, Distributions
from catalog.versions.snapshot import Snapshot
from catalog.versions.snapshot_cache import Snapshots
from oci.errors import NotFound, VersionUnknown

_NUMBER = re.compile(r"0|[1-9]\d{0,14}", re.ASCII)
_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:t(\d\d)\.(\d\d)(?:\.(\d\d))?z)?", re.ASCII)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Past:
    """What a path below the reserved one stands for: the version of that number, or the one of a moment, that `path` served."""

    path: str
    number: int | None
    moment: datetime | None


def parse_past(path: str, prefix: str) -> Past | None:
    """Read a path; None for one that is not of this form. A day, a minute or a second stands for its end."""
    if not prefix or not path.startswith(f"{prefix}/"):
        return None
    when, slash, rest = path[len(prefix) + 1 :].partition("/")
    if not slash:
        return None
    if _NUMBER.fullmatch(when):
        return Past(rest, int(when), None)
    moment = parse_moment(when)
    return None if moment is None else Past(rest, None, moment)


def parse_moment(text: str) -> datetime | None:
    """Read `2026-11-01`, `2026-11-01t12.30z` or `2026-11-01t12.30.05z`, the last instant of it; None for what is no such time."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    given = [int(part) for part in match.groups() if part is not None]
    length = {3: timedelta(days=1), 5: timedelta(minutes=1), 6: timedelta(seconds=1)}[len(given)]
    try:
        year, month, day, hour, minute, second = (*given, 0, 0, 0)[:6]
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC) + length - _INSTANT
    except (ValueError, OverflowError):
        return None


class TimeTravel:
    """What is served below the reserved path; usable from any thread. A distribution at such a path goes before."""

    def __init__(self, prefix: str, distributions: Distributions, snapshots: Snapshots) -> None:
        self._start = f"{prefix}/" if prefix else None
        self._prefix, self._distributions, self._snapshots = prefix, distributions, snapshots
        self._parse = lru_cache(maxsize=4096)(parse_past)

    def parse(self, path: str) -> Past | None:
        """Return what a path stands for, None when it is an ordinary one; no I/O, and no more than a glance at most paths."""
        if self._start is None or not path.startswith(self._start) or self._distributions.find(path) is not None:
            return None
        return self._parse(path, self._prefix)

    def present(self, past: Past) -> Distribution | None:
        """The distribution whose rights hold, as far as memory knows: that of the path it is the past of."""
        found = self._distributions.find(past.path)
        return None if found is None or found.remote else found

    def needs_reading(self, past: Past) -> bool:
        """Return whether `is_open` may have to read."""
        present = self.present(past)
        return past.moment is not None and present is not None and present.history_from > 1

    def is_open(self, past: Past) -> bool:
        """Return whether everybody may pull that version: its path is public, and was when it served the version. May read."""
        present = self.present(past)
        if present is None or present.private:
            return False
        if present.version is not None or present.history_from <= 1:  # of a fixed version, `at` shows no other
            return True
        number = past.number
        if past.moment is not None:
            try:
                number = self._snapshots.timeline(present.repository).latest_at(past.moment)
            except NotFound:
                return False
        return (number or 0) >= present.history_from

    def at(self, path: str, past: Past) -> Distribution:
        """Return what is served at a path of the past; may read.

        Raises VersionUnknown, also for other versions of a path that serves a fixed one: who may pull there may not see those.
        It names the path alone, for not all who may pull there may know of its repository.
        """
        present = self.present(past)
        if present is None:
            raise VersionUnknown(f"no repository {past.path!r} here")
        try:
            number = self._number(past, present)
        except NotFound:
            raise VersionUnknown(f"what {past.path} served at {past.moment} was deleted since") from None
        if present.version is not None and number != present.version:
            raise VersionUnknown(f"{past.path} serves version {present.version} of its repository, and no other one")
        if number == 0:
            raise VersionUnknown(f"{past.path} had no version at {past.moment or 'number 0'}")
        try:
            self._snapshots.get(present.repository, number)
        except NotFound:
            raise VersionUnknown(
                f"{past.path} has no version {number} to show: there is none, or it was deleted"
            ) from None
        return replace(present, path=path, version=number)

    def _number(self, past: Past, present: Distribution) -> int:
        if past.moment is None:
            return past.number or 0
        return self._snapshots.timeline(present.repository).at(past.moment)

    def find(self, path: str) -> Snapshot | None:
        """The version that a path of the past serves; None for none. May read."""
        past = self.parse(path)
        if past is None:
            return None
        try:
            found = self.at(path, past)
            return self._snapshots.get(found.repository, found.version)
        except NotFound:
            return None

    def cached(self, path: str) -> Snapshot | None:
        """The same if memory has it, and no other process has committed; no I/O."""
        past = self.parse(path)
        present = self.present(past) if past is not None else None
        if past is None or present is None:
            return None
        number = past.number
        if past.moment is not None:
            timeline = self._snapshots.cached_timeline(present.repository)
            number = timeline.number_at(past.moment) if timeline is not None else None
        if not number or present.version not in (None, number):
            return None
        return self._snapshots.cached(present.repository, number)
