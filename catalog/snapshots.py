"""The snapshots in memory: which version is the latest, and the versions asked for most recently."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from catalog.distributions import Distributions
from catalog.lake import Lake
from catalog.news import NewsFeed
from catalog.remotes import Remotes
from catalog.snapshot import Delta, ManifestEntry, Snapshot
from oci.digest import Digest
from oci.errors import NameUnknown, VersionUnknown

_STATE = """
SELECT kind, tag, digest, any_value(size), any_value(media_type), any_value(artifact_type), any_value(subject)
FROM changes WHERE repository = ? AND version <= ?
GROUP BY kind, tag, digest HAVING sum(CASE action WHEN 'add' THEN 1 ELSE -1 END) > 0"""

_STEP = """
SELECT kind, tag, digest, any_value(size), any_value(media_type), any_value(artifact_type), any_value(subject),
    sum(CASE action WHEN 'add' THEN 1 ELSE -1 END) AS net
FROM changes WHERE repository = ? AND version > ? AND version <= ?
GROUP BY kind, tag, digest HAVING net <> 0 ORDER BY net"""


class Snapshots:
    """Keeps up to `limit` snapshots; usable from any thread. Another process's commit shows at the next look."""

    def __init__(self, lake: Lake, distributions: Distributions, remotes: Remotes, *, limit: int) -> None:
        self._lake, self._distributions, self._remotes, self._limit = lake, distributions, remotes, limit
        self._kept: OrderedDict[tuple[str, int], Snapshot] = OrderedDict()
        self._guard, self._learning = threading.Lock(), threading.Lock()
        self._names: tuple[str, ...] | None = None
        self._latest: dict[str, int] = {}
        self._feed = NewsFeed(lake)
        self._read_latest()

    def _read_latest(self) -> None:
        rows = self._lake.read("SELECT repository, max(number) FROM versions GROUP BY repository")
        with self._guard:
            self._latest = {str(name): int(str(number)) for name, number in rows}
            self._names = None

    def _take_news(self) -> None:
        """Learn what was committed. Only then does the feed count as current, so that nobody is told of an older version."""
        if self._feed.is_current():
            return
        with self._learning:
            if self._feed.is_current():
                return
            news = self._feed.read()
            is_new = not news.versions.keys() <= self._latest.keys()
            if is_new or news.distributions or not news.complete:
                self._distributions.reload()
            if news.remotes or not news.complete:
                self._remotes.reload()
            if news.complete:
                with self._guard:
                    self._names = None if is_new else self._names
                    for name, number in news.versions.items():
                        self._latest[name] = max(number, self._latest.get(name, 0))
            else:
                self._read_latest()
            self._feed.accept(news)

    def is_current(self) -> bool:
        """Whether memory knows all that any process has committed; a microsecond, no I/O."""
        return self._feed.is_current()

    def refresh(self) -> None:
        """Learn what other processes have committed."""
        self._take_news()

    def has(self, name: str) -> bool:
        """Whether memory knows a repository; no I/O."""
        return name in self._latest

    def names(self) -> Sequence[str]:
        """All repositories' names in ASCII order."""
        self._take_news()
        names = self._names
        if names is None:
            with self._guard:
                names = self._names = tuple(sorted(self._latest))
        return names

    def find(self, name: str) -> Snapshot | None:
        """The latest version, None when there is no such repository."""
        self._take_news()
        number = self._latest.get(name)
        return None if number is None else self._load(name, number)

    def cached_at(self, path: str) -> Snapshot | None:
        """What a distribution's path serves, if memory has it and no other process committed."""
        if not self._feed.is_current():
            return None
        found = self._distributions.find(path)
        if found is None or found.remote:
            return None
        number = self._latest.get(found.repository, 0) if found.version is None else found.version
        return self._kept.get((found.repository, number))

    def find_at(self, path: str) -> Snapshot | None:
        """What a distribution's path serves; None when nothing is served there."""
        self._take_news()
        found = self._distributions.find(path)
        if found is None or found.remote:
            return None
        number = self._latest.get(found.repository, 0) if found.version is None else found.version
        return self._load(found.repository, number)

    def get(self, name: str, version: int | None = None) -> Snapshot:
        """A version, by default the latest; raise NameUnknown or VersionUnknown."""
        self._take_news()
        latest = self._latest.get(name)
        if latest is None:
            raise NameUnknown(f"no repository {name!r} here")
        if version is None:
            return self._load(name, latest)
        if not 0 <= version <= latest:
            raise VersionUnknown(f"{name} has no version {version}; its latest is {latest}")
        return self._load(name, version)

    def keep(self, snapshots: Iterable[Snapshot], *, before: int, after: int) -> None:
        """Remember versions just made, as the latest of their repositories; the commit moved the counter so."""
        with self._guard:
            for snapshot in snapshots:
                if snapshot.repository not in self._latest:
                    self._names = None
                self._latest[snapshot.repository] = max(snapshot.version, self._latest.get(snapshot.repository, 0))
                self._remember(snapshot)
        self._feed.skip_own(before, after)

    def _remember(self, snapshot: Snapshot) -> None:
        self._kept[snapshot.repository, snapshot.version] = snapshot
        self._kept.move_to_end((snapshot.repository, snapshot.version))
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def _load(self, name: str, version: int) -> Snapshot:
        if version == 0:
            return Snapshot(name, 0)
        with self._guard:
            found = self._kept.get((name, version))
            if found is not None:
                self._kept.move_to_end((name, version))
                return found
            earlier = max((number for kept, number in self._kept if kept == name and number < version), default=0)
            base = self._kept.get((name, earlier))
        made = self._read(name, version) if base is None else self._forward(base, version)
        with self._guard:
            self._remember(made)
        return made

    def _read(self, name: str, version: int) -> Snapshot:
        tags, manifests, blobs = _sort_out(self._lake.read(_STATE, [name, version]))
        return Snapshot(name, version, tags, manifests, blobs)

    def _forward(self, base: Snapshot, version: int) -> Snapshot:
        rows = self._lake.read(_STEP, [base.repository, base.version, version])
        tags, manifests, blobs = _sort_out([row for row in rows if int(str(row[7])) > 0])
        lost_tags, lost_manifests, lost_blobs = _sort_out([row for row in rows if int(str(row[7])) < 0])
        return base.forward(version, Delta(tags, lost_tags, manifests, lost_manifests, blobs, lost_blobs))


def _sort_out(
    rows: Iterable[tuple[object, ...]],
) -> tuple[dict[str, Digest], dict[Digest, ManifestEntry], dict[Digest, int]]:
    tags: dict[str, Digest] = {}
    manifests: dict[Digest, ManifestEntry] = {}
    blobs: dict[Digest, int] = {}
    for kind, tag, digest_text, size, media_type, artifact_type, subject, *_ in rows:
        digest = Digest(digest_text)
        if kind == "tag":
            tags[str(tag)] = digest
        elif kind == "blob":
            blobs[digest] = int(str(size))
        else:
            named = Digest(subject) if subject else None
            manifests[digest] = ManifestEntry(str(media_type), int(str(size)), str(artifact_type), named)
    return tags, manifests, blobs
