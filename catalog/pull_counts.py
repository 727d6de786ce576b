"""How often manifests are pulled, and when last: counted in memory, written now and then by many processes, added up when asked.

A pull is a GET of a manifest, by tag or by digest, that was answered with 200, or with 304 to a client that has the bytes and
asks whether they still hold. HEAD is none. Clients that look a tag up by HEAD and then GET the digest, as containerd does, are
counted under the digest alone; `PullSums.of_tag` adds both up. The last pull of a blob is that of the manifests that have it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, cast

from catalog.lake.reading import Readable, listed

if TYPE_CHECKING:
    from catalog.lake.connection import Lake

DAYS_APART = 90
"""Days for which `compact` leaves the pulls of each day apart from those of the next."""

_AT_MOST = 100_000
"""Manifests that one process counts apart between two writes."""

_COMPACTED = """
SELECT repository, tag, digest, max(day) AS day, sum(pulls)::BIGINT AS pulls, max(last_pulled_at) AS last_pulled_at
FROM pulls GROUP BY repository, tag, digest, CASE WHEN day >= ? THEN day END
ORDER BY repository, tag, digest, day"""


class Pulled(NamedTuple):
    """What was pulled: `tag` is empty for a pull by digest; both are, where more was pulled than could be told apart."""

    repository: str
    tag: str
    digest: str


@dataclass(frozen=True, slots=True)
class PullCount:
    """How often something was pulled, and when last."""

    pulls: int
    last_pulled_at: datetime


PullCounts = Mapping[tuple[str, str], PullCount]
"""The counts of one repository by (tag, digest)."""


@dataclass(frozen=True, slots=True)
class PullSums:
    """The counts of one repository added up: by tag, whatever it pointed to; by digest alone; and by digest in any way.

    `untold` are pulls of which only the repository is known, for there were too many to tell apart.
    """

    tags: Mapping[str, PullCount]
    by_digest: Mapping[str, PullCount]
    manifests: Mapping[str, PullCount]
    untold: PullCount | None

    def of_tag(self, tag: str, digest: str) -> PullCount | None:
        """The pulls of a tag and, by digest, of the manifest that it points to; None for none."""
        return _sum(self.tags.get(tag), self.by_digest.get(digest))

    def last_of_tag(self, tag: str, digest: str) -> datetime | None:
        """Return when a tag was pulled last, or may have been; None for never."""
        found = _sum(self.of_tag(tag, digest), self.untold)
        return found.last_pulled_at if found else None

    def last_of_manifest(self, digest: str) -> datetime | None:
        """Return when a manifest was pulled last by whatever name, or may have been; None for never."""
        found = _sum(self.manifests.get(digest), self.untold)
        return found.last_pulled_at if found else None


def sum_pulls(counts: PullCounts) -> PullSums:
    """Add up the counts of one repository."""
    tags: dict[str, PullCount] = {}
    by_digest: dict[str, PullCount] = {}
    manifests: dict[str, PullCount] = {}
    for (tag, digest), count in counts.items():
        if tag:
            tags[tag] = _sum(tags.get(tag), count) or count
        elif digest:
            by_digest[digest] = count
        if digest:
            manifests[digest] = _sum(manifests.get(digest), count) or count
    return PullSums(tags, by_digest, manifests, counts.get(("", "")))


def _sum(one: PullCount | None, other: PullCount | None) -> PullCount | None:
    if one is None or other is None:
        return one or other
    return PullCount(one.pulls + other.pulls, max(one.last_pulled_at, other.last_pulled_at))


class PullCounter:
    """Counts the pulls of one process until somebody takes them. Use it on one thread, the event loop's: it has no lock."""

    def __init__(self, *, limit: int = _AT_MOST) -> None:
        self._limit = limit
        self._counts: dict[Pulled, list[object]] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def note(self, repository: str, tag: str, digest: str, now: datetime) -> None:
        """Count one pull: no I/O, no wait. Beyond the limit only how many there were of a repository is kept."""
        key = Pulled(repository, tag, digest)
        found = self._counts.get(key)
        if found is not None:
            found[0] += 1  # type: ignore[operator]  # [how many, the last one's time]
            found[1] = now
        else:
            self._add(key, 1, now)

    def _add(self, key: Pulled, pulls: int, last: datetime) -> None:
        if key not in self._counts and len(self._counts) >= self._limit:
            key = Pulled(key.repository, "", "")
        count, known = cast("tuple[int, datetime]", self._counts.get(key, (0, last)))
        self._counts[key] = [count + pulls, max(last, known)]

    def take(self) -> Mapping[Pulled, PullCount]:
        """Return what was counted since the last time; counting begins anew."""
        taken, self._counts = self._counts, {}
        return {key: PullCount(*cast("tuple[int, datetime]", found)) for key, found in taken.items()}

    def give_back(self, taken: Mapping[Pulled, PullCount]) -> None:
        """Count again what could not be written."""
        for key, count in taken.items():
            self._add(key, count.pulls, count.last_pulled_at)


def read_pull_counts(lake: Readable, repository: str) -> PullCounts:
    """Return the counts of one repository. One query, which reads the rows of few others."""
    rows = lake.read("SELECT tag, digest, pulls, last_pulled_at FROM pull_counts WHERE repository = ?", [repository])
    return {
        (str(tag), str(digest)): PullCount(cast("int", pulls), cast("datetime", last))
        for tag, digest, pulls, last in rows
    }


class Pulls:
    """Writes and reads the table `pulls`; usable from any thread."""

    def __init__(self, lake: "Lake", *, on_recorded: Callable[[], None] = lambda: None) -> None:
        self._lake, self._on_recorded = lake, on_recorded

    def record(self, counts: Mapping[Pulled, PullCount]) -> None:
        """Add counts, those of all repositories in one write; durable on return. Makes no version of anything.

        `on_recorded` is called then, so that this process knows of its own commit and no request looks for it.
        """
        if not counts:
            return
        rows = [
            {
                "repository": key.repository, "tag": key.tag, "digest": key.digest, "day": one.last_pulled_at.date(),
                "pulls": one.pulls, "last_pulled_at": one.last_pulled_at,
            }
            for key, one in sorted(counts.items())
        ]  # fmt: skip
        with self._lake.write() as writer:
            writer.append("pulls", rows)
            writer.describe("registry", f"pulls of {len(rows)} manifest(s)")
        self._on_recorded()

    def read(self, repositories: Iterable[str]) -> dict[str, PullCounts]:
        """The counts of some repositories; those never pulled from are not among them. One query."""
        found: dict[str, dict[tuple[str, str], PullCount]] = {}
        rows = self._lake.read(
            "SELECT repository, tag, digest, pulls, last_pulled_at FROM pull_counts "
            "WHERE repository IN (SELECT unnest(string_split(?, ' ')))",
            [listed(repositories)],
        )
        for repository, tag, digest, pulls, last in rows:
            counts = found.setdefault(str(repository), {})
            counts[str(tag), str(digest)] = PullCount(cast("int", pulls), cast("datetime", last))
        return dict(found)

    def read_one(self, repository: str) -> PullCounts:
        """The counts of one repository. One query, which reads the rows of few others."""
        return read_pull_counts(self._lake, repository)

    def compact(self, today: date) -> int:
        """Make one row of all rows about one thing and day, and one of all days DAYS_APART before `today`; return the rows saved.

        Nothing is written unless a tenth of the rows would go. Takes the write lock for a second for each 500,000 rows or so.
        """
        before = today - timedelta(days=DAYS_APART)
        rows, kept = self._sizes(before)
        if rows - kept <= rows // 10:
            return 0
        with self._lake.write() as writer:
            writer.execute(f"CREATE OR REPLACE TEMP TABLE compacted_pulls AS {_COMPACTED}", [before])
            gone = writer.clear("pulls")
            writer.execute("INSERT INTO pulls BY NAME SELECT * FROM compacted_pulls")
            left = cast("int", self._lake.read("SELECT count(*) FROM compacted_pulls")[0][0])
            writer.execute("DROP TABLE compacted_pulls")
            writer.describe("upkeep", f"pulls compacted from {gone} rows to {left}")
        return gone - left

    def _sizes(self, before: date) -> tuple[int, int]:
        counted = self._lake.read(
            f"SELECT (SELECT count(*) FROM pulls), (SELECT count(*) FROM ({_COMPACTED}))",
            [before],
        )[0]
        return cast("int", counted[0]), cast("int", counted[1])
