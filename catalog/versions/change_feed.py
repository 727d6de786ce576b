"""The change feed: what other processes have committed, read from the lake only when the shared counter has moved."""

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from catalog.distributions.openings import read_openings
from catalog.distributions.records import Distribution
from catalog.lake.connection import Lake
from catalog.quotas.totals import Total

_PATIENCE = 2.0
"""Seconds a commit may be under way before we look whether its writer is still alive."""

_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class CommittedChanges:
    """What was committed since the last acknowledged read: the newest version of each repository changed, and whether
    distributions or remotes were. `opened` are distributions of new repositories, of which there is nothing more to read.

    `squashed` are versions that are no more; `ended` repositories that are no more, with the last number they had.

    `totals` has what the newest of `versions` hold, None where the record does not say; `quotas`: some were changed; `gates`:
    rules about pulls were.

    `complete` is False when the record has gaps, and everything known before must be read again. `seen` and `position` are
    the counter's value and the last commit that are covered.
    """

    seen: int
    position: int
    versions: Mapping[str, int] = field(default_factory=dict)
    distributions: bool = False
    remotes: bool = False
    complete: bool = True
    squashed: Mapping[str, Collection[int]] = field(default_factory=dict)
    ended: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, Total | None] = field(default_factory=dict)
    quotas: bool = False
    opened: Sequence[Distribution] = ()
    gates: bool = False


class ChangeFeed:
    """One process's place in the record of commits; `read` and `acknowledge` belong together under the caller's lock."""

    def __init__(self, lake: Lake, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lake, self._monotonic = lake, monotonic
        self._odd_since: tuple[int, float] | None = None
        self._seen = lake.sequence.value & ~1
        rows = lake.read_metadata("SELECT max(snapshot_id) FROM {meta}ducklake_snapshot_changes")
        self._position = int(str(rows[0][0] or 0))

    def is_current(self) -> bool:
        """Return whether nothing was committed since the last `read`; no I/O, well under a microsecond."""
        value = self._lake.sequence.value
        if value == self._seen:
            return True
        if value % 2 == 0 or value - 1 != self._seen:
            return False
        return self._is_under_way(value)

    def _is_under_way(self, value: int) -> bool:
        """Return True while a commit has begun and not ended, until its writer is found dead."""
        since = self._odd_since
        if since is None or since[0] != value:
            self._odd_since = (value, self._monotonic())
            return True
        if self._monotonic() - since[1] < _PATIENCE:
            return True
        self._odd_since = None
        return not self._lake.heal_sequence()

    def read(self) -> CommittedChanges:
        """Return what was committed since the last acknowledged read, by this process or another; one query."""
        value = self._lake.sequence.value & ~1
        rows = self._lake.read_metadata(
            "SELECT snapshot_id, commit_extra_info FROM {meta}ducklake_snapshot_changes "
            "WHERE snapshot_id > ? ORDER BY snapshot_id DESC LIMIT ?",
            [self._position, _AT_MOST + 1],
        )
        numbers = [int(str(row[0])) for row in rows]
        if not numbers:
            return CommittedChanges(value, self._position)
        complete = numbers[-1] == self._position + 1 and len(numbers) == numbers[0] - self._position <= _AT_MOST
        versions: dict[str, int] = {}
        squashed: dict[str, set[int]] = {}
        ended: dict[str, int] = {}
        totals: dict[str, Total | None] = {}
        opened: dict[str, Distribution] = {}
        distributions = remotes = quotas = gates = False
        for _, text in reversed(rows):
            note = json.loads(str(text)) if text else {}
            made = note.get("versions", {})
            versions.update(made)
            told = note.get("totals", {})
            totals.update({name: Total(*told[name]) if name in told else None for name in made})
            quotas = quotas or bool(note.get("quotas"))
            gates = gates or bool(note.get("gates"))
            ended.update(note.get("ended", {}))
            for name, gone in note.get("squashed", {}).items():
                squashed.setdefault(name, set()).update(gone)
            noted = note.get("opened", {})
            opened.update({one.path: one for one in read_openings(noted)})
            is_told = "opened" in note or not made  # a former release may have made any with its versions
            distributions = distributions or not is_told or not note.get("distributions", {}).keys() <= noted.keys()
            remotes = remotes or bool(note.get("remotes"))
        return CommittedChanges(
            value,
            numbers[0],
            versions,
            distributions,
            remotes,
            complete,
            squashed,
            ended,
            totals=totals,
            quotas=quotas,
            opened=tuple(opened.values()),
            gates=gates,
        )

    def acknowledge(self, changes: CommittedChanges) -> None:
        """Count changes as known; call it once everybody who asks is answered by them."""
        self._position = changes.position
        self._seen = changes.seen

    def is_past(self, before: int) -> bool:
        """Return whether commits were told that came after the counter's value `before`."""
        return self._seen > before

    def skip_own_commit(self, before: int, after: int) -> None:
        """Take a commit of this process as read, when nothing of others came before it."""
        if self._seen == before:
            self._seen = after
