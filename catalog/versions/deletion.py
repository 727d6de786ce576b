"""Deleting versions: one that goes is squashed, its changes merged into the next that stays, so that every other stays as it was.

1. Under the write lock: which versions there are, which are served or pinned, and so which may go. 2. Collect the rows that the
versions to go have, and those of the versions after them that speak of the same tags and digests. 3. Of each (kind, tag, digest)
what is left: an add and a later remove cancel out, and with the last row that names a blob garbage collection may free it. A
manifest keeps when it first came.
4. Take those rows away and put what is left in their place, with a row for each version gone, all in one transaction.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from catalog.audit import Event, event_row
from catalog.blobs.index import BlobIndex
from catalog.distributions.records import Distribution, Distributions
from catalog.lake.connection import Lake
from catalog.lake.nested_values import without_nested
from catalog.lake.writer import Writer
from catalog.versions.pins import Pins
from catalog.versions.snapshot_cache import Snapshots
from catalog.versions.timeline import SquashPlan, Timeline, plan_squash, read_timeline
from oci.errors import Conflict, InUse, NameUnknown

_MEMBERS = "kind IN ('tag', 'manifest', 'blob')"
_OF_NAME = f"repository = ? AND {_MEMBERS}"
_KEY = "(version, kind, tag, digest)"

_PAIRS = """CREATE OR REPLACE TEMP TABLE {table} AS
SELECT unnest(?::BIGINT[]) AS version, unnest(?::BIGINT[]) AS {column}"""

_TOUCHED = f"""CREATE OR REPLACE TEMP TABLE squash_touched AS
WITH going AS (
    SELECT records.*, target FROM records JOIN squash_moves USING (version) WHERE {_OF_NAME}),
touched AS (
    SELECT * FROM going
    UNION ALL
    SELECT *, version AS target FROM records
    WHERE {_OF_NAME} AND version IN (SELECT target FROM squash_moves)
        AND {_KEY} IN (SELECT (target, kind, tag, digest) FROM going))
SELECT touched.* REPLACE (
    CASE WHEN kind = 'manifest' AND action = 'add' THEN coalesce(touched.created_at, made.created_at) END AS created_at)
FROM touched LEFT JOIN (
    SELECT version, created_at FROM records WHERE repository = ? AND kind IN ('version', 'squashed')) AS made USING (version)"""

_LEFT = """CREATE OR REPLACE TEMP TABLE squash_left AS
SELECT * EXCLUDE (target, net, place, came_at) REPLACE (target AS version, came_at AS created_at) FROM (
    SELECT *, min(created_at) OVER (PARTITION BY target, kind, tag, digest) AS came_at,
        sum(CASE action WHEN 'add' THEN 1 ELSE -1 END) OVER (PARTITION BY target, kind, tag, digest) AS net,
        row_number() OVER (PARTITION BY target, kind, tag, digest, action ORDER BY version DESC) AS place
    FROM squash_touched)
WHERE place = 1 AND net <> 0 AND action = CASE WHEN net > 0 THEN 'add' ELSE 'remove' END"""

_HEADS = """CREATE OR REPLACE TEMP TABLE squash_heads AS
SELECT records.* REPLACE ('squashed' AS kind) FROM records JOIN squash_moves USING (version)
WHERE repository = ? AND kind = 'version'
UNION ALL
SELECT records.* REPLACE (
    squash_bases.base AS base,
    records.added - (SELECT count(*) FROM squash_touched WHERE version = records.version AND action = 'add')
        + (SELECT count(*) FROM squash_left WHERE version = records.version AND action = 'add') AS added,
    records.removed - (SELECT count(*) FROM squash_touched WHERE version = records.version AND action = 'remove')
        + (SELECT count(*) FROM squash_left WHERE version = records.version AND action = 'remove') AS removed)
FROM records JOIN squash_bases USING (version) WHERE repository = ? AND kind = 'version'"""

_TAKE_AWAY = f"""DELETE FROM records WHERE repository = ? AND (
    kind = 'version' AND version IN (SELECT version FROM squash_heads)
    OR {_MEMBERS} AND {_KEY} IN (SELECT {_KEY} FROM squash_touched))"""

_PUT_BACK = (
    f"INSERT INTO records BY NAME SELECT * REPLACE ({without_nested('records')}) FROM squash_left "
    "UNION ALL BY NAME SELECT * FROM squash_heads"
)

_LOOSE = """
SELECT ours.digest FROM (SELECT digest, count(*) AS rows FROM squash_touched GROUP BY digest) AS ours
JOIN (
    SELECT digest, count(*) AS rows FROM changes WHERE digest IN (SELECT digest FROM squash_touched) GROUP BY digest
) AS all_rows USING (digest)
WHERE ours.rows = all_rows.rows AND digest NOT IN (SELECT digest FROM squash_left)"""


@dataclass(frozen=True, slots=True)
class SquashReport:
    """What was deleted, or would be. `merged` tells for each version the one that has its changes now, 0 for none.

    `free_blobs` and `free_bytes` are what the next garbage collection could free by it; known with a dry run only, for looking
    takes longer than deleting.
    """

    repository: str
    merged: Mapping[int, int]
    dry_run: bool = False
    free_blobs: int | None = None
    free_bytes: int | None = None

    @property
    def deleted(self) -> list[int]:
        """The numbers, in order."""
        return sorted(self.merged)

    def to_json(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "repository": self.repository,
            "deleted": self.deleted,
            "merged": {str(number): self.merged[number] for number in self.deleted},
            "dry_run": self.dry_run,
            "free_blobs": self.free_blobs,
            "free_bytes": self.free_bytes,
        }


class Squasher:
    """Deletes versions and repositories; usable from any thread, safe beside any number of other processes."""

    def __init__(
        self, lake: Lake, snapshots: Snapshots, distributions: Distributions, pins: Pins, blob_index: BlobIndex
    ) -> None:
        self._lake, self._snapshots, self._distributions = lake, snapshots, distributions
        self._pins, self._blob_index = pins, blob_index

    def delete_versions(
        self, name: str, wanted: Sequence[range], *, actor: str, now: datetime, address: str = "", dry_run: bool = False
    ) -> SquashReport:
        """Delete versions, all or none; durable on return.

        Raises NameUnknown, VersionUnknown, and InUse for one that must stay.
        """
        if dry_run:
            plan = self._plan(name, wanted)
            self._collect(name, plan)
            return SquashReport(name, plan.targets, True, *self._forecast())
        with self._lake.write() as writer:
            writer.begin()  # the temporary tables go with it where it fails
            plan = self._plan(name, wanted)
            self._collect(name, plan)
            writer.execute(_TAKE_AWAY, [name])
            writer.execute(_PUT_BACK)
            self._clear()
            gone = sorted(plan.targets)
            _record(writer, Event(now, actor, "delete-version", name, address=address, detail={"versions": gone}))
            writer.describe(actor, f"delete {len(gone)} version(s) of {name}", acts=1, squashed={name: gone})
        self._snapshots.forget(name, plan.targets, before=writer.before, after=writer.after)
        return SquashReport(name, plan.targets)

    def delete_repository(
        self,
        name: str,
        *,
        actor: str,
        now: datetime,
        address: str = "",
        dry_run: bool = False,
        latest: int | None = None,
    ) -> SquashReport:
        """Delete a repository with all its versions and its own path; durable on return. Its numbers are never used again.

        Raises NameUnknown, InUse when another path serves it or a version of it is pinned, and Conflict when its latest version
        is not the one that `latest` says.
        """
        if dry_run:
            merged = dict.fromkeys(self._check_repository(name).existing, 0)
            self._lake.read(
                f"CREATE OR REPLACE TEMP TABLE squash_touched AS SELECT * FROM records WHERE {_OF_NAME}", [name]
            )
            self._lake.read("CREATE OR REPLACE TEMP TABLE squash_left AS SELECT * FROM squash_touched LIMIT 0")
            return SquashReport(name, merged, True, *self._forecast())
        with self._lake.write() as writer:
            found = self._check_repository(name)
            if latest is not None and found.latest != latest:
                raise Conflict(
                    f"{name} has a version {found.latest} by now; the latest was {latest} when this was planned"
                )
            writer.execute(f"DELETE FROM records WHERE {_OF_NAME}", [name])
            writer.execute(
                "UPDATE records SET kind = 'deleted' WHERE repository = ? AND kind IN ('version', 'squashed')", [name]
            )
            writer.delete("sources", "repository", name)
            self._blob_index.end_links(name)  # whoever gets the name next has no right to what was there
            writer.execute("DELETE FROM distributions WHERE path = ? AND repository = ?", [name, name])
            detail = {"versions": len(found.existing), "last": found.latest}
            _record(writer, Event(now, actor, "delete-repository", name, address=address, detail=detail))
            writer.describe(
                actor,
                f"delete repository {name}",
                distributions={name: "deleted"},
                acts=1,
                ended={name: found.latest},
            )
        self._snapshots.end(name, found.latest, before=writer.before, after=writer.after)
        self._distributions.reload()
        return SquashReport(name, dict.fromkeys(found.existing, 0))

    def _serving(self, name: str) -> Iterator[Distribution]:
        self._snapshots.names()  # reads the change feed, distributions among it
        return (one for one in self._distributions.all() if one.repository == name)

    def _plan(self, name: str, wanted: Iterable[range]) -> SquashPlan:
        timeline = self._timeline(name)
        served = {one.version: one.path for one in self._serving(name) if one.version is not None}
        pinned = {pin.version: pin.note for pin in self._pins.of(name)}
        return plan_squash(timeline, wanted, served=served, pinned=pinned)

    def _timeline(self, name: str) -> Timeline:
        found = read_timeline(self._lake, name)
        if not found.existing:
            raise NameUnknown(f"no repository {name!r} here")
        return found

    def _check_repository(self, name: str) -> Timeline:
        found = self._timeline(name)
        others = [one.path for one in self._serving(name) if one.path != name]
        if others:
            raise InUse(f"{name} is served at {', '.join(others[:5])}; delete these distributions first")
        pinned = [str(pin.version) for pin in self._pins.of(name)]
        if pinned:
            raise InUse(f"version(s) {', '.join(pinned[:5])} of {name} are pinned; unpin them first")
        return found

    def _collect(self, name: str, plan: SquashPlan) -> None:
        """Have the rows of a plan in temporary tables."""
        for table, column, pairs in (
            ("squash_moves", "target", plan.targets),
            ("squash_bases", "base", plan.bases),
        ):
            self._lake.read(_PAIRS.format(table=table, column=column), [list(pairs), list(pairs.values())])
        self._lake.read(_TOUCHED, [name, name, name])
        self._lake.read(_LEFT)
        self._lake.read(_HEADS, [name, name])

    def _forecast(self) -> tuple[int, int]:
        """Return how many blobs are held, with how many bytes, that no version would name any more."""
        held = self._blob_index.sizes(str(row[0]) for row in self._lake.read(_LOOSE))
        self._clear()
        return len(held), sum(held.values())

    def _clear(self) -> None:
        for table in ("touched", "left", "heads", "moves", "bases"):
            self._lake.read(f"DROP TABLE IF EXISTS squash_{table}")


def _record(writer: Writer, event: Event) -> None:
    writer.insert("acts", [event_row(event)])
