"""A repository's versions in time, those that were deleted too: which was the latest when, and which may be deleted."""

import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple, cast

from catalog.lake.connection import Lake
from catalog.units import format_time
from oci.errors import InUse, InvalidInput, VersionUnknown

_KEPT = 256
"""Timelines in memory."""

NUMBERS_PATTERN = "^([0-9]{1,15})(?:-([0-9]{1,15}))?$"


class Made(NamedTuple):
    """A version and when it was made; `gone`: it was deleted since."""

    number: int
    created_at: datetime
    gone: bool


@dataclass(frozen=True)
class Timeline:
    """All versions that a repository has had, by number."""

    repository: str
    made: Sequence[Made]

    @cached_property
    def existing(self) -> tuple[int, ...]:
        """The numbers of those that are still there."""
        return tuple(one.number for one in self.made if not one.gone)

    @property
    def latest(self) -> int:
        """The latest version, 0 for none."""
        return self.existing[-1] if self.existing else 0

    @cached_property
    def _times(self) -> list[datetime]:
        """Return when each was there: no version is older than those before it, whatever clocks said."""
        return list(accumulate((one.created_at for one in self.made), max))

    def at(self, moment: datetime) -> int:
        """The version that was the latest at a moment, 0 for none yet; raise VersionUnknown when that was deleted since."""
        found = self._made_at(moment)
        if found is not None and found.gone:
            raise VersionUnknown(
                f"version {found.number} was the latest of {self.repository} at {format_time(moment)}, and was deleted since"
            )
        return found.number if found is not None else 0

    def number_at(self, moment: datetime) -> int | None:
        """The same, None for one that is not there or was deleted since."""
        found = self._made_at(moment)
        return None if found is None or found.gone else found.number

    def latest_at(self, moment: datetime) -> int:
        """The number of the version that was the latest at a moment, whether or not it was deleted since; 0 for none yet."""
        found = self._made_at(moment)
        return 0 if found is None else found.number

    def _made_at(self, moment: datetime) -> Made | None:
        place = bisect_right(self._times, moment)
        return self.made[place - 1] if place else None


@dataclass(frozen=True, slots=True)
class SquashPlan:
    """Which versions go: each with the existing version that its changes are merged into; and the bases that those get."""

    targets: Mapping[int, int]
    bases: Mapping[int, int]


def parse_numbers(texts: Iterable[str]) -> tuple[range, ...]:
    """Read numbers of versions and ranges of them, `3` and `5-9`; raise InvalidInput."""
    found: list[range] = []
    for text in texts:
        match = re.fullmatch(NUMBERS_PATTERN, text.strip())
        if match is None:
            raise InvalidInput(f"invalid version {text[:40]!r}: expected a number such as 3, or a range such as 5-9")
        first, last = sorted((int(match[1]), int(match[2] or match[1])))
        found.append(range(first, last + 1))
    if not found:
        raise InvalidInput("name at least one version")
    return tuple(found)


def plan_squash(
    timeline: Timeline, wanted: Iterable[range], *, served: Mapping[int, str], pinned: Mapping[int, str]
) -> SquashPlan:
    """Choose what is deleted, all or nothing. Of a longer range, numbers that are not there are passed over.

    `served` has the path of a distribution for each version that one is fixed to, `pinned` the note of each pin. Raises
    VersionUnknown, and InUse for the latest version and for what is served or pinned.
    """
    existing = set(timeline.existing)
    going: set[int] = set()
    for numbers in wanted:
        here = {number for number in existing if number in numbers}
        if not here:
            what = f"version {numbers[0]}" if len(numbers) == 1 else f"versions {numbers[0]} to {numbers[-1]}"
            raise VersionUnknown(f"{timeline.repository} has no {what}; `entrepot version list` shows what it has")
        going |= here
    for number in sorted(going):
        _check_free(timeline, number, served, pinned)
    staying = [number for number in timeline.existing if number not in going]
    targets = {number: staying[bisect_right(staying, number)] for number in sorted(going)}
    before = dict(zip(staying, [0, *staying], strict=False))
    bases = {target: before[target] for target in targets.values()}
    return SquashPlan(targets, bases)


def _check_free(timeline: Timeline, number: int, served: Mapping[int, str], pinned: Mapping[int, str]) -> None:
    what = f"version {number} of {timeline.repository}"
    if number == timeline.latest:
        raise InUse(f"{what} is the latest and stays; restore the one that you want first, then delete this one")
    if number in served:
        raise InUse(f"{what} is served at {served[number]}; let that path serve another version, or delete it, first")
    if number in pinned:
        said = f" ({pinned[number]})" if pinned[number] else ""
        raise InUse(f"{what} is pinned{said}; `entrepot version unpin {timeline.repository} {number}` lets it go")


def read_timeline(lake: Lake, name: str) -> Timeline:
    """Read a repository's timeline, in one query; one without versions is of a repository that is not there."""
    rows = lake.read(
        "SELECT version, created_at, kind <> 'version' FROM records WHERE repository = ? "
        "AND kind IN ('version', 'squashed', 'deleted') ORDER BY version",
        [name],
    )
    return Timeline(name, [Made(*cast("tuple[int, datetime, bool]", row)) for row in rows])


class Timelines:
    """The timelines asked for most recently; usable from any thread."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._kept: OrderedDict[str, Timeline] = OrderedDict()
        self._guard = threading.Lock()
        self._drops = 0

    def get(self, name: str, latest: int) -> Timeline:
        """A repository's timeline up to its latest version; read only when memory has none that goes so far."""
        drops = self._drops
        found = self.cached(name, latest)
        if found is not None:
            return found
        made = read_timeline(self._lake, name)
        with self._guard:
            if self._drops == drops:  # else it may be older than what made somebody drop it
                self._kept[name] = made
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return made

    def cached(self, name: str, latest: int) -> Timeline | None:
        """The same if memory has it; no I/O."""
        with self._guard:
            found = self._kept.get(name)
            if found is None or found.latest < latest:
                return None
            self._kept.move_to_end(name)
            return found

    def drop(self, names: Iterable[str] | None = None) -> None:
        """Forget those of some repositories, or all: versions of theirs were deleted."""
        with self._guard:
            self._drops += 1
            for name in list(self._kept) if names is None else names:
                self._kept.pop(name, None)
