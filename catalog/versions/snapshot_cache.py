"""The snapshots in memory: which version is the latest, and the versions asked for most recently."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress

from catalog.distributions.records import Distribution, Distributions
from catalog.lake.connection import Lake
from catalog.lake.first_use import ReadAtFirstUse
from catalog.lake.reading import listed
from catalog.quotas.quotas import Quotas
from catalog.quotas.totals import Total
from catalog.remotes.records import Remotes
from catalog.versions.change_feed import ChangeFeed
from catalog.versions.rows import STATE_OF_ONE, STATES_OF_MANY, STEP_OF_ONE, claims_of, sort_members
from catalog.versions.snapshot import Delta, Snapshot, total_of, version_unknown
from catalog.versions.timeline import Timeline, Timelines
from oci.errors import CatalogUnavailable, Conflict, NameUnknown, VersionUnknown

_TRIES = 10

_OVERHEAD = 10
"""Entries that a snapshot of nothing counts for."""


class Snapshots:
    """Keeps snapshots of up to `limit` entries in all, usable from any thread. Other processes' commits show at the next look."""

    def __init__(
        self,
        lake: Lake,
        feed: ChangeFeed,
        distributions: Distributions,
        remotes: Remotes,
        quotas: Quotas,
        gates: Sequence[ReadAtFirstUse] = (),
        *,
        limit: int,
    ) -> None:
        self._lake, self._feed, self._distributions, self._limit = lake, feed, distributions, limit
        self._remotes, self._quotas, self._gates = remotes, quotas, gates
        self._kept: OrderedDict[tuple[str, int], Snapshot] = OrderedDict()
        self._held = 0
        self._guard, self._learning = threading.Lock(), threading.Lock()
        self._names: tuple[str, ...] | None = None
        self._latest: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._drops = 0
        self.changes = 0
        """Another number as soon as memory knows of other versions."""
        self.is_cut_off = False
        """Whether the database does not answer, so that what memory has counts as current."""
        self._timelines = Timelines(lake)
        self._read_latest()

    def _read_latest(self) -> None:
        rows = self._lake.read(
            "SELECT repository, max(version) FILTER (kind = 'version'), max(version) FILTER (kind = 'deleted'), "
            "arg_max(tags, version) FILTER (kind = 'version'), arg_max(size_bytes, version) FILTER (kind = 'version') "
            "FROM records WHERE kind IN ('version', 'deleted') GROUP BY repository"
        )
        with self._guard:
            self.changes += 1
            self._latest = {str(name): int(str(number)) for name, number, *_ in rows if number is not None}
            self._ended = {str(name): int(str(number)) for name, _, number, *_ in rows if number is not None}
            self._names = None
        totals = {
            str(row[0]): Total(int(str(row[3] or 0)), int(str(row[4] or 0))) for row in rows if row[1] is not None
        }
        self._quotas.totals.replace(totals)

    def _read_feed(self, *, even_if_current: bool = False) -> None:
        """Learn what was committed; only then does the feed count as current. Cut off, memory keeps what was last confirmed."""
        if self.is_cut_off and not even_if_current:
            return
        with suppress(CatalogUnavailable):
            self._lake.confirm()
        self._read_news(even_if_current=even_if_current)

    def _read_news(self, *, even_if_current: bool = False) -> None:
        if self._feed.is_current() and not even_if_current:
            return
        with self._learning:
            if self._feed.is_current() and not even_if_current:
                return
            changes = self._feed.read()
            is_new = not changes.versions.keys() <= self._latest.keys()
            if changes.distributions or not changes.complete:
                self._distributions.reload()
            else:
                self._distributions.open(changes.opened)
            others = [(changes.remotes, self._remotes), (changes.quotas, self._quotas)]
            for has_changed, records in (*others, *((changes.gates, one) for one in self._gates)):
                if has_changed or not changes.complete:
                    records.reload()
            if changes.complete and None not in changes.totals.values():
                for name, gone in changes.squashed.items():
                    self._drop(name, gone)
                for name, last in changes.ended.items():
                    self._end(name, last)
                with self._guard:
                    self.changes += bool(changes.versions)
                    self._names = None if is_new else self._names
                    for name, number in changes.versions.items():
                        if number > self._ended.get(name, 0):
                            self._latest[name] = max(number, self._latest.get(name, 0))
                for name, total in changes.totals.items():
                    if total is not None and self._latest.get(name) == changes.versions[name]:
                        self._quotas.totals.move(name, total)
            else:
                self._read_latest()
                self._drop()
            self._feed.acknowledge(changes)

    def _drop(self, name: str = "", gone: Collection[int] | None = None) -> None:
        """Forget versions that are no more: of a repository some or all, without a name all of everything."""
        with self._guard:
            self._drops += 1
            self.changes += 1
            for kept in [kept for kept in self._kept if name in (kept[0], "") and (gone is None or kept[1] in gone)]:
                self._held -= _weight(self._kept.pop(kept))
        self._timelines.drop([name] if name else None)

    def _end(self, name: str, last: int) -> None:
        """A repository was deleted, whose last number was that one."""
        with self._guard:
            self._ended[name] = max(last, self._ended.get(name, 0))
            if self._latest.get(name, 0) <= last:
                self._latest.pop(name, None)
            self._names = None
        if name not in self._latest:
            self._quotas.totals.end(name)
        self._drop(name)

    def is_current(self) -> bool:
        """Return whether memory knows all that any process has committed; a microsecond, no I/O."""
        return self._feed.is_current()

    def refresh(self) -> None:
        """Learn what other processes have committed; raise CatalogUnavailable."""
        self._lake.confirm()
        self._read_news()

    def look(self) -> None:
        """Have `looked_at` be now, without the listener; raise CatalogUnusable."""
        self._lake.metadata.look()

    def learn(self) -> None:
        """Learn what other processes are known to have committed; raise CatalogUnusable."""
        self._read_news()

    def _is_known(self) -> bool:
        """Return whether memory may be served: it is current, or nothing newer can be had."""
        return self.is_cut_off or self._feed.is_current()

    async def confirm_on_loop(self) -> None:
        """Know on the event loop whether others have committed, which `is_current` then says; raise CatalogUnavailable."""
        await self._lake.confirm_on_loop()

    @property
    def looked_at(self) -> float:
        """Return since when `is_current` is right: that moment by `time.monotonic`, infinity on one machine; no I/O."""
        return self._lake.metadata.looked_at

    @property
    def is_shared(self) -> bool:
        """Return whether other machines commit."""
        return self._lake.is_shared

    @property
    def entries(self) -> int:
        """Return how many tags, manifests and blobs of versions memory has; no I/O."""
        return self._held

    @property
    def drops(self) -> int:
        """Return another number as soon as versions or repositories are known to be no more; no I/O."""
        return self._drops

    @property
    def count(self) -> int:
        """Return how many repositories memory knows; no I/O."""
        return len(self._latest)

    def has(self, name: str) -> bool:
        """Return whether memory knows a repository; no I/O."""
        return name in self._latest

    def peek(self, name: str) -> Snapshot | None:
        """Return the latest version of a repository if memory has it, current or not; no I/O."""
        return self._kept.get((name, self._latest.get(name, 0)))

    def last_number(self, name: str) -> int:
        """Return the highest number that a version of a repository of that name has had, as far as memory knows; no I/O."""
        return max(self._latest.get(name, 0), self._ended.get(name, 0))

    def names(self) -> Sequence[str]:
        """All repositories' names in ASCII order."""
        self._read_feed()
        names = self._names
        if names is None:
            with self._guard:
                names = self._names = tuple(sorted(self._latest))
        return names

    def numbers(self) -> dict[str, int]:
        """The latest version of each repository, as far as memory knows; no I/O."""
        return dict(self._latest)

    def number_at(self, found: Distribution) -> int:
        """The number of the version that a distribution serves, as far as memory knows; 0 for none."""
        return self._latest.get(found.repository, 0) if found.version is None else found.version

    def find(self, name: str, *, is_confirmed: bool = False) -> Snapshot | None:
        """The latest version, None when there is no such repository; `is_confirmed`: what memory knows was confirmed just now."""
        if is_confirmed:
            self._read_news()
        else:
            self._read_feed()
        return self._load_latest(name)

    def _load_latest(self, name: str) -> Snapshot | None:
        """The latest version, also when others make further ones and delete this one meanwhile."""
        for _ in range(_TRIES):
            number = self._latest.get(name)
            if number is None:
                return None
            try:
                return self._load(name, number)
            except VersionUnknown:
                self._read_feed(even_if_current=True)
        raise Conflict(f"versions of {name} are deleted faster than they can be read; try again")

    def cached_at(self, path: str) -> Snapshot | None:
        """Return what a distribution's path serves, if memory has it and no other process committed."""
        if not self._is_known():
            return None
        found = self._distributions.find(path)
        if found is None or found.remote:
            return None
        return self._kept.get((found.repository, self.number_at(found)))

    def find_at(self, path: str) -> Snapshot | None:
        """Return what a distribution's path serves; None when nothing is served there."""
        self._read_feed()
        found = self._distributions.find(path)
        if found is None or found.remote:
            return None
        if found.version is None:
            return self._load_latest(found.repository) or Snapshot(found.repository, 0)
        return self._load(found.repository, found.version)

    def get(self, name: str, version: int | None = None) -> Snapshot:
        """A version, by default the latest; raise NameUnknown or VersionUnknown."""
        self._read_feed()
        latest = self._latest.get(name)
        if latest is None:
            raise NameUnknown(f"no repository {name!r} here")
        if version is None:
            found = self._load_latest(name)
            if found is None:
                raise NameUnknown(f"no repository {name!r} here")
            return found
        if not 0 <= version <= latest:
            raise version_unknown(name, version, latest)
        return self._load(name, version)

    def timeline(self, name: str) -> Timeline:
        """All versions that a repository has had; raise NameUnknown."""
        self._read_feed()
        latest = self._latest.get(name)
        if latest is None:
            raise NameUnknown(f"no repository {name!r} here")
        return self._timelines.get(name, latest)

    def cached_timeline(self, name: str) -> Timeline | None:
        """The same if memory has it, and no other process has committed; no I/O."""
        latest = self._latest.get(name)
        return self._timelines.cached(name, latest) if latest is not None and self._is_known() else None

    def cached(self, name: str, version: int) -> Snapshot | None:
        """A version if memory has it, and no other process has committed; no I/O."""
        return self._kept.get((name, version)) if self._is_known() else None

    def number_after(self, base: Snapshot) -> int:
        """The number of the version after this one: never one that a repository of that name has had before."""
        return base.version + 1 if base.version else self._ended.get(base.repository, 0) + 1

    def keep(
        self, snapshots: Iterable[Snapshot], *, opened: Iterable[Distribution] = (), before: int, after: int
    ) -> None:
        """Remember versions just made, as the latest of their repositories, and the paths that were opened for new ones.

        The commit moved the counter so. One that the feed has told already is left as the feed told it: others may have
        changed the same since. Nobody learns from the feed meanwhile.
        """
        with self._learning:
            if self._feed.is_past(before):
                return
            self._distributions.open(opened)
            self._keep(snapshots)
            self._feed.skip_own_commit(before, after)

    def _keep(self, snapshots: Iterable[Snapshot]) -> None:
        with self._guard:
            self.changes += 1
            for snapshot in snapshots:
                name, number = snapshot.repository, snapshot.version
                if number < self._latest.get(name, 0) or number <= self._ended.get(name, 0):
                    continue  # others have made further ones meanwhile, and may have deleted this one
                if name not in self._latest:
                    self._names = None
                self._latest[name] = number
                self._remember(snapshot)
                if self._latest[snapshot.repository] == snapshot.version:
                    self._quotas.totals.move(snapshot.repository, total_of(snapshot))

    def forget(self, name: str, gone: Collection[int], *, before: int, after: int) -> None:
        """Versions were deleted; the commit moved the counter so."""
        with self._learning:
            self._drop(name, gone)
            self._feed.skip_own_commit(before, after)

    def end(self, name: str, last: int, *, before: int, after: int) -> None:
        """A repository was deleted, whose last number was that one; the commit moved the counter so."""
        with self._learning:
            self._end(name, last)
            self._feed.skip_own_commit(before, after)

    def _remember(self, snapshot: Snapshot) -> None:
        key = (snapshot.repository, snapshot.version)
        if key not in self._kept:
            self._held += _weight(snapshot)
        self._kept[key] = snapshot
        self._kept.move_to_end(key)
        while self._held > self._limit and len(self._kept) > 1:
            self._held -= _weight(self._kept.popitem(last=False)[1])

    def _load(self, name: str, version: int) -> Snapshot:
        if version == 0:
            return Snapshot(name, 0)
        with self._guard:
            found = self._kept.get((name, version))
            if found is not None:
                self._kept.move_to_end((name, version))
                return found
            earlier = max((number for kept, number in self._kept if kept == name and number < version), default=0)
            base, drops = self._kept.get((name, earlier)), self._drops
        made = self._forward(base, version) if base is not None else None
        made = made or self._read(name, version)
        with self._guard:
            if self._drops == drops:
                self._remember(made)
        return made

    def preload(self, names: Iterable[str]) -> dict[str, int]:
        """Have memory hold the latest versions of repositories, by one question; return the numbers of those that exist."""
        self._read_feed()
        with self._guard:
            latest = {name: self._latest[name] for name in names if name in self._latest}
            wanted = {name: number for name, number in latest.items() if (name, number) not in self._kept}
            drops = self._drops
        for made in self._read_many(wanted) if wanted else ():
            with self._guard:
                if self._drops == drops:
                    self._remember(made)
        return latest

    def _read_many(self, wanted: Mapping[str, int]) -> list[Snapshot]:
        """Return versions by names and numbers, without those that are no more."""
        found: dict[str, list[tuple[object, ...]]] = {}
        for *row, name in self._lake.read(STATES_OF_MANY, [listed(wanted), listed(map(str, wanted.values()))]):
            found.setdefault(str(name), []).append(tuple(row))
        whole = {name: rows for name, rows in found.items() if any(row[0] == "version" for row in rows)}
        return [Snapshot(name, wanted[name], *sort_members(rows), claims_of(rows)) for name, rows in whole.items()]

    def _read(self, name: str, version: int) -> Snapshot:
        rows = self._lake.read(STATE_OF_ONE, [name, version, version, name, version])
        if not any(row[0] == "version" for row in rows):
            raise version_unknown(name, version, self._latest.get(name, 0))
        return Snapshot(name, version, *sort_members(rows), claims_of(rows))

    def _forward(self, base: Snapshot, version: int) -> Snapshot | None:
        """Return what the changes since make of an earlier version; None when one of the two is no more: then they are others."""
        name, former = base.repository, base.version
        rows = self._lake.read(STEP_OF_ONE, [name, former, version, former, version, name, former, version])
        if not any(row[0] == "version" and row[7] == 2 for row in rows):
            return None
        claims = claims_of(rows)
        tags, manifests, blobs = sort_members([row for row in rows if int(str(row[7])) > 0])
        lost_tags, lost_manifests, lost_blobs = sort_members([row for row in rows if int(str(row[7])) < 0])
        return base.forward(version, Delta(tags, lost_tags, manifests, lost_manifests, blobs, lost_blobs, claims))


def _weight(snapshot: Snapshot) -> int:
    """Entries that a snapshot counts for; what it shares with another version is counted with both."""
    return len(snapshot.tags) + len(snapshot.manifests) + len(snapshot.blobs) + len(snapshot.deferred) + _OVERHEAD
