"""The state of watches, in the catalogue, where all replicas see it. Two watches at once do not tell one change twice."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from catalog.audit import Event, event_row
from catalog.filters.tags import TagFilter
from catalog.lake.connection import Lake
from catalog.lake.writer import Writer
from catalog.watch.judgement import judge_sighting
from catalog.watch.rows import (
    TAG_COLUMNS,
    read_filters,
    read_tag_row,
    read_time,
    render_filters,
    tag_row,
    watched_change_row,
)
from catalog.watch.sightings import Sightings, TagGone, UpstreamChange, WatchedRemote, WatchedTag
from oci.digest import Digest
from oci.errors import RemoteUnknown

ACTOR = "watch-upstream"
KEPT_CHANGES = 50
"""Changes of one tag that are kept."""
KEPT_FILTERS = 20
"""Filters of one remote that are remembered as covered."""
MOST_EVENTS = 200
"""Changes of one watch of one remote that have an event each; one more event counts the rest."""
_WITHIN = "tag IN (SELECT unnest(string_split(?, ' ')))"


@dataclass(frozen=True, slots=True)
class WatchTerms:
    """The terms of one watch: the filter of tags, which of them must not move, and how many vanished tags are remembered."""

    tags: TagFilter = field(default_factory=TagFilter)
    is_immutable: Callable[[str], bool] = lambda _tag: False
    most: int = 5000
    flow_run_id: str = ""


class WatchRecords:
    """Reads and writes what is remembered of upstream repositories; usable from any thread."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def read(self, remote: str) -> WatchedRemote:
        """Return what is remembered of a remote's repository; nothing for one that was never watched."""
        found = self._lake.read(
            "SELECT covered, first_watched, watched_at FROM watched_remotes WHERE remote = ?", [remote]
        )
        rows = self._lake.read(f"SELECT {TAG_COLUMNS} FROM watched_tags WHERE remote = ?", [remote])
        tags = {one.tag: one for one in map(read_tag_row, rows)}
        if not found:
            return WatchedRemote(remote, tags)
        covered, first, last = found[0]
        return WatchedRemote(remote, tags, read_filters(covered), read_time(first), read_time(last))

    def first_digests(self, remote: str, tags: Collection[str]) -> Mapping[str, Digest | None]:
        """Return the first digests of those tags that have moved before; None for one whose first moves are not kept any more."""
        rows = self._lake.read(
            f"SELECT tag, min_by(previous, happened_at), count(*) FROM watched_changes WHERE remote = ? AND {_WITHIN} "
            "AND previous IS NOT NULL GROUP BY tag",
            [remote, " ".join(tags)],
        )
        return {str(tag): Digest(first) if int(str(count)) < KEPT_CHANGES else None for tag, first, count in rows}

    def forget(self, remote: str, *, actor: str, now: datetime) -> None:
        """Forget a remote: the next watch of it is a first one. Durable on return. Raise RemoteUnknown for one never watched."""
        with self._lake.write() as writer:
            if self.read(remote).watched_at is None:
                raise RemoteUnknown(f"{remote[:300]} was never watched")
            for table in ("watched_remotes", "watched_tags", "watched_changes"):
                writer.delete(table, "remote", remote)
            writer.insert("acts", [event_row(Event(now, actor, "watch-forget", remote))])
            writer.describe(actor, f"no watch of {remote}", acts=1)

    def record(self, base: WatchedRemote, seen: Sightings, terms: WatchTerms, *, now: datetime) -> list[UpstreamChange]:
        """Write what a watch that began with `base` has seen; return what has changed, which is told. Durable on return.

        A tag that another watch has written since is left as that one has found it. `now` is when this watch began.
        """
        with self._lake.write() as writer:
            stored = self.read(base.remote)
            judged = _judge(stored, base, seen, terms, now)
            self._write(writer, stored, judged, seen, terms, now)
        return judged.changes

    def _write(
        self, writer: Writer, stored: WatchedRemote, judged: "Judged", seen: Sightings, terms: WatchTerms, now: datetime
    ) -> None:
        remote, is_newer = stored.remote, stored.watched_at is None or now > stored.watched_at
        rows = dict(judged.rows)
        if is_newer:
            rows |= _left_behind(stored, judged, seen)
        dropped = [*judged.forgotten, *_surplus({**stored.tags, **rows}, terms.most)]
        touched = [*rows, *dropped]
        if touched:
            writer.execute(f"DELETE FROM watched_tags WHERE remote = ? AND {_WITHIN}", [remote, " ".join(touched)])
        writer.insert("watched_tags", [tag_row(remote, row) for tag, row in rows.items() if tag not in dropped])
        writer.insert("watched_changes", [watched_change_row(remote, one, now) for one in judged.changes])
        self._prune(writer, remote, {one.tag for one in judged.changes} - set(dropped), dropped)
        covered = _covered(stored.covered, terms.tags) if seen.is_complete else stored.covered
        first, last = stored.first_watched or now, now if is_newer else stored.watched_at
        writer.delete("watched_remotes", "remote", remote)
        writer.insert("watched_remotes", [(remote, render_filters(covered), first, last)])
        events = _events(remote, judged.changes, terms, now)
        writer.insert("acts", [event_row(event) for event in events])
        writer.describe(ACTOR, f"watch of {remote}", acts=len(events))

    def _prune(self, writer: Writer, remote: str, changed: Collection[str], dropped: Collection[str]) -> None:
        """Keep the newest changes of each tag, and none of tags that are forgotten."""
        if dropped:
            writer.execute(f"DELETE FROM watched_changes WHERE remote = ? AND {_WITHIN}", [remote, " ".join(dropped)])
        if not changed:
            return
        many = self._lake.read(
            f"SELECT tag, list(happened_at ORDER BY happened_at DESC)[?] FROM watched_changes WHERE remote = ? AND {_WITHIN} "
            "GROUP BY tag HAVING count(*) > ?",
            [KEPT_CHANGES, remote, " ".join(changed), KEPT_CHANGES],
        )
        for tag, oldest in many:
            writer.execute(
                "DELETE FROM watched_changes WHERE remote = ? AND tag = ? AND happened_at < ?", [remote, tag, oldest]
            )


@dataclass(frozen=True, slots=True)
class Judged:
    """What a watch writes: tags whose rows become others, tags to forget that were never read, and what is told."""

    rows: Mapping[str, WatchedTag]
    forgotten: frozenset[str]
    changes: list[UpstreamChange]


def _judge(stored: WatchedRemote, base: WatchedRemote, seen: Sightings, terms: WatchTerms, now: datetime) -> Judged:
    rows: dict[str, WatchedTag] = {}
    forgotten: set[str] = set()
    changes: list[UpstreamChange] = []
    for tag, sighting in seen.tags.items():
        known, before = stored.tags.get(tag), base.tags.get(tag)
        if (known and known.facts) != (before and before.facts):
            continue  # another watch was here meanwhile, and has told
        found, told = judge_sighting(
            known, tag, sighting, now, is_covered=stored.covers(tag), is_immutable=terms.is_immutable(tag)
        )
        if found is None:
            forgotten |= {tag} & stored.tags.keys()
        elif found != known:
            rows[tag] = found
        changes += told
    for tag in seen.unknown:
        if tag not in stored.tags and not stored.covers(tag):
            rows[tag] = WatchedTag(tag, None, now)
    return Judged(rows, frozenset(forgotten), changes)


def _left_behind(stored: WatchedRemote, judged: Judged, seen: Sightings) -> dict[str, WatchedTag]:
    """Return the tags that the last watch has seen and this one has not, with the time of that watch."""
    not_seen = {
        tag: judged.rows.get(tag, row)
        for tag, row in stored.tags.items()
        if tag not in seen.tags or isinstance(seen.tags[tag], TagGone)
    }
    return {
        tag: replace(row, last_seen=stored.watched_at)
        for tag, row in not_seen.items()
        if row.last_seen is None and row.digest is not None
    }


def _surplus(tags: Mapping[str, WatchedTag], most: int) -> list[str]:
    """Return the vanished tags beyond the last `most`, so that tags that come and go upstream do not fill the catalogue."""
    gone = [(row.vanished_at, tag) for tag, row in tags.items() if row.vanished_at is not None]
    return [tag for _, tag in sorted(gone, reverse=True)[most:]]


def _covered(covered: Sequence[TagFilter], tags: TagFilter) -> Sequence[TagFilter]:
    return covered if tags in covered else (*covered, tags)[-KEPT_FILTERS:]


def _events(remote: str, changes: Sequence[UpstreamChange], terms: WatchTerms, now: datetime) -> list[Event]:
    """Return the audit events of changes: warnings first, at most MOST_EVENTS, and one that counts the rest."""
    ordered = sorted(changes, key=lambda one: one.severity != "warning")
    events = [
        Event(now, ACTOR, one.action, remote, detail={**change_json(one), "flow_run_id": terms.flow_run_id})
        for one in ordered[:MOST_EVENTS]
    ]
    if rest := Counter(one.kind for one in ordered[MOST_EVENTS:]):
        events.append(
            Event(now, ACTOR, "watch-more-changes", remote, detail={str(kind): count for kind, count in rest.items()})
        )
    return events


def change_json(one: UpstreamChange) -> dict[str, object]:
    """Return a change for programs."""
    found: dict[str, object] = {
        "kind": one.kind, "severity": one.severity, "tag": one.tag, "digest": one.digest, "previous": one.previous,
    }  # fmt: skip
    if one.signers_before:
        found |= {"claimed_signers_before": list(one.signers_before), "claimed_signers": list(one.signers)}
    return found
