"""Distributions: the paths that clients use, each serving a repository's latest version or one that is pinned.

One with a remote is a cache: below its path it serves what another registry has, by the names it has there.
"""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from catalog.distributions.cache_rules import CacheRules
from catalog.lake.first_use import ReadAtFirstUse
from catalog.lake.nested_values import as_nested, to_text
from catalog.lake.reading import listed
from catalog.lake.writer import check_fit
from oci.errors import DistributionUnknown, VersionUnknown

if TYPE_CHECKING:
    from catalog.lake.connection import Lake


def has_labels(labels: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Return whether all that is wanted is there: `KEY` with any value, `KEY=VALUE` with that one."""
    for text in wanted:
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


Row = tuple[object, ...]
_COLUMNS = (
    "path, repository, version, private, description, created_at, updated_at, remote, fresh_seconds, replica_of, "
    f"{as_nested('distributions', 'labels')}, immutable_tags, include_names, exclude_names, bring, max_size, "
    "keep_unused_days, replica_mark, history_from, shares_login"
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a base path serves; `version` None is the latest. `private`: only those with the right to pull see it.

    `remote` is the registry that a cache is for, with or without a scheme and the first parts of names there; then
    `repository` is empty, a tag counts as fresh for `fresh_seconds` after upstream was asked, and `cache` says what it takes and
    keeps. `replica_of` is the host whose distribution of that path is replicated here, `replica_mark` what of it was replicated
    last. Tags that fit one of `immutable_tags` (globs) are neither moved nor deleted by clients once they are there.
    `shares_login` says that a public cache may give everybody what it reads with a login.
    `history_from` is the first version that the path's being public shows below the path of the past; `switch` keeps it.
    """

    path: str
    repository: str
    created_at: datetime
    updated_at: datetime
    version: int | None = None
    private: bool = False
    description: str = ""
    remote: str = ""
    fresh_seconds: int = 0
    replica_of: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    immutable_tags: tuple[str, ...] = ()
    cache: CacheRules = field(default_factory=CacheRules)
    replica_mark: str = ""
    history_from: int = 1
    shares_login: bool = False


def history_start(old: Distribution | None, made: Distribution, latest: int) -> int:
    """Return the first version of which everybody may pull what a path served, once `made` stands in the place of `old`.

    A public path shows what it has served while it was public: from the version on that it served when it became so, or when
    it began to serve the latest version of this repository. `latest` is the repository's latest version now.
    """
    if old is not None and not old.private and (old.repository, old.version) == (made.repository, made.version):
        return old.history_from
    return max(1, latest if made.version is None else made.version)


def distribution_row(found: Distribution) -> Row:
    """The row of table `distributions`."""
    return (
        found.path,
        found.repository,
        found.version,
        found.private,
        found.description,
        found.created_at,
        found.updated_at,
        found.remote,
        found.fresh_seconds,
        found.replica_of,
        None,
        list(found.immutable_tags),
        list(found.cache.include),
        list(found.cache.exclude),
        found.cache.bring,
        found.cache.max_size,
        found.cache.keep_unused_days,
        found.replica_mark,
        found.history_from,
        found.shares_login,
        to_text(found.labels),
    )


def read_distribution(row: Row) -> Distribution:
    """The distribution of a row."""
    path, repository, version, private, description, created, updated, *more = cast("tuple[Any, ...]", row)
    (
        remote,
        fresh,
        replica_of,
        labels,
        immutable,
        include,
        exclude,
        bring,
        max_size,
        keep_unused_days,
        mark,
        history_from,
        shares_login,
    ) = more
    rules = CacheRules(
        tuple(include or ()), tuple(exclude or ()), bring or "anyone", max_size or 0, keep_unused_days or 0.0
    )
    return Distribution(
        path,
        repository,
        created,
        updated,
        version,
        private,
        description,
        remote or "",
        fresh or 0,
        replica_of or "",
        labels or {},
        tuple(immutable or ()),
        rules,
        mark or "",
        1 if history_from is None else history_from,
        bool(shares_login),
    )


class Distributions(ReadAtFirstUse):
    """All distributions in memory; usable from any thread."""

    _by_path: dict[str, Distribution]
    _caches: Mapping[str, Distribution]
    _immutable: Mapping[str, tuple[str, ...]]
    _serving: dict[str, list[Distribution]]

    def __init__(self, lake: "Lake") -> None:
        self._lake = lake
        self._guard = threading.RLock()
        self.changes = 0
        """Another number as soon as any distribution is another one."""

    def reload(self) -> None:
        """Read them again, in one query; what is written meanwhile waits, since it is newer."""
        with self._guard:
            found = [read_distribution(row) for row in self._lake.read(f"SELECT {_COLUMNS} FROM distributions")]
            self._take({one.path: one for one in found})

    def _take(self, by_path: dict[str, Distribution]) -> None:
        self.changes += 1
        self._by_path = by_path
        self._caches = {path: one for path, one in by_path.items() if one.remote}
        serving: dict[str, list[Distribution]] = {}
        for one in sorted(by_path.values(), key=lambda one: (one.path != one.repository, one.path)):
            if one.repository:
                serving.setdefault(one.repository, []).append(one)
        self._serving = serving
        immutable: dict[str, tuple[str, ...]] = {}
        for one in by_path.values():
            if one.immutable_tags and one.version is None:
                immutable[one.repository] = immutable.get(one.repository, ()) + one.immutable_tags
        self._immutable = immutable

    def find(self, path: str) -> Distribution | None:
        """The distribution at a path; no I/O."""
        return self._by_path.get(path)

    def caches(self) -> Collection[Distribution]:
        """The caches; no I/O."""
        return self._caches.values()

    def find_cache(self, path: str) -> Distribution | None:
        """The cache that a path lies below, the innermost if there are several; no I/O."""
        if not self._caches:
            return None
        head = path
        while head := head.rpartition("/")[0]:
            if head in self._caches:
                return self._caches[head]
        return None

    def serving(self, repository: str) -> list[Distribution]:
        """Return what serves a repository, the path of its own name first; no I/O."""
        return self._serving.get(repository, [])

    def immutable_tags(self, repository: str) -> tuple[str, ...]:
        """Return what patterns of tags all paths that serve a repository's latest version keep from being moved; no I/O."""
        return self._immutable.get(repository, ())

    def get(self, path: str) -> Distribution:
        """The distribution at a path; raise DistributionUnknown."""
        found = self._by_path.get(path)
        if found is None:
            raise DistributionUnknown(f"no distribution {path!r} here")
        return found

    def __len__(self) -> int:
        """Return how many paths serve something; no I/O."""
        return len(self._by_path)

    def all(self) -> list[Distribution]:
        """Every distribution by path, in ASCII order."""
        by_path = self._by_path
        return [by_path[path] for path in sorted(by_path)]

    def open(self, made: Iterable[Distribution]) -> None:
        """Remember what commits have written for new repositories, whose paths have served nothing; the cost is that of `made`.

        Such a distribution is no cache, and keeps no tag from being moved.
        """
        with self._guard:
            for one in made:
                if one.path not in self._by_path:
                    self.changes += 1
                    self._by_path[one.path] = one
                    self._serving[one.repository] = [one, *self._serving.get(one.repository, ())]

    def put(self, made: Distribution, *, actor: str, history_from: int | None = None) -> Distribution:
        """Write a distribution, in place of the one at its path; durable on return. Return it as it was written.

        `history_from` opens the past of a public path from that version on, whatever the path was before.
        """
        opened = {} if history_from is None else {made.path: history_from}
        self.switch([made], [], actor=actor, opened=opened)
        return self.get(made.path)

    def switch(
        self,
        made: Sequence[Distribution],
        gone: Collection[str],
        *,
        actor: str,
        opened: Mapping[str, int] | None = None,
    ) -> None:
        """Write distributions in place of those at their paths, and serve nothing at the paths `gone`: all at one moment.

        `opened` has the first version of the past that a path shows to everybody; `history_start` tells that of the others.
        """
        if not made and not gone:
            return
        for text in (text for one in made for pair in one.labels.items() for text in pair):
            check_fit(text)
        self.ensure_read()
        with self._lake.write() as writer:
            self._check_versions(made)
            made = self._with_history(made, opened or {})
            paths = listed((*gone, *(one.path for one in made)))
            writer.execute("DELETE FROM distributions WHERE path IN (SELECT unnest(string_split(?, ' ')))", [paths])
            writer.insert("distributions", [distribution_row(one) for one in made])
            names = ", ".join([*(one.path for one in made), *(f"{path} deleted" for path in gone)])
            changed = {**dict.fromkeys(gone, "deleted"), **{one.path: "set" for one in made}}
            writer.describe(actor, f"distributions {names}"[:1000], distributions=changed)
        self.reload()  # others may have written the same paths since

    def _with_history(self, made: Sequence[Distribution], opened: Mapping[str, int]) -> Sequence[Distribution]:
        """The same with the first version of the past that each shows; the lock is held, so that no version comes between."""
        rows = self._lake.read(
            f"SELECT {_COLUMNS} FROM distributions WHERE path IN (SELECT unnest(string_split(?, ' ')))",
            [listed(one.path for one in made)],
        )
        before = {one.path: one for one in map(read_distribution, rows)}
        names = listed({one.repository for one in made if one.version is None and one.repository})
        latest = (
            self._lake.read(
                "SELECT repository, max(version) FROM records WHERE kind = 'version' "
                "AND repository IN (SELECT unnest(string_split(?, ' '))) GROUP BY repository",
                [names],
            )
            if names
            else []
        )
        numbers = {str(name): int(str(number)) for name, number in latest}
        return [
            replace(
                one,
                history_from=opened.get(
                    one.path, history_start(before.get(one.path), one, numbers.get(one.repository, 0))
                ),
            )
            for one in made
        ]

    def _check_versions(self, made: Sequence[Distribution]) -> None:
        """Raise VersionUnknown for one that would serve a version which is not, or no longer, there."""
        fixed = [one for one in made if one.version]
        if not fixed:
            return
        rows = self._lake.read(
            "SELECT repository, number FROM versions WHERE repository IN (SELECT unnest(string_split(?, ' ')))",
            [listed(one.repository for one in fixed)],
        )
        known = set(rows)
        for one in fixed:
            if (one.repository, one.version) not in known:
                raise VersionUnknown(f"{one.repository} has no version {one.version}, which {one.path} should serve")

    def delete(self, path: str, *, actor: str) -> None:
        """Serve nothing at a path any more; raise DistributionUnknown."""
        self.get(path)
        self.switch([], [path], actor=actor)
