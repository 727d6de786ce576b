"""Rows of the tables `watched_remotes`, `watched_tags` and `watched_changes`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from catalog.filters.tags import TagFilter
from catalog.lake.insertion import Row
from catalog.watch.sightings import SeenSignature, Signatures, UpstreamChange, WatchedTag, signers_of
from oci.digest import Digest

TAG_COLUMNS = "tag, digest, first_seen, last_seen, vanished_at, moved_from, moved_at, moves, signatures"


def tag_row(remote: str, one: WatchedTag) -> Row:
    """Return the row of a tag."""
    signatures = None
    if one.signatures is not None:
        signatures = json.dumps({digest: [seen.signer, seen.channel] for digest, seen in one.signatures.items()})
    return (
        remote, one.tag, one.digest, one.first_seen, one.last_seen, one.vanished_at, one.moved_from, one.moved_at,
        one.moves, signatures, None if one.signatures is None else ", ".join(signers_of(one.signatures)),
    )  # fmt: skip


def read_tag_row(row: Row) -> WatchedTag:
    """Return the tag of a row with TAG_COLUMNS."""
    tag, digest, first, last, vanished, moved_from, moved_at, moves, signatures = cast("tuple[Any, ...]", row)
    return WatchedTag(
        tag,
        None if digest is None else Digest(digest),
        first.astimezone(UTC),
        read_time(last),
        read_time(vanished),
        None if moved_from is None else Digest(moved_from),
        read_time(moved_at),
        int(moves),
        None if signatures is None else _signatures(signatures),
    )


def _signatures(text: str) -> Signatures:
    return {Digest(digest): SeenSignature(*seen) for digest, seen in json.loads(text).items()}


def read_time(value: object) -> datetime | None:
    """Return a time in UTC; None for NULL."""
    return value.astimezone(UTC) if isinstance(value, datetime) else None


def watched_change_row(remote: str, one: UpstreamChange, now: datetime) -> Row:
    """Return the row of a change."""
    return (remote, one.tag, one.kind, one.severity, one.digest, one.previous, now)


def render_filters(filters: Sequence[TagFilter]) -> str:
    """Return filters as the JSON text of a column."""
    return json.dumps([[one.include, one.exclude] for one in filters])


def read_filters(text: object) -> tuple[TagFilter, ...]:
    """Return the filters of that text."""
    return tuple(TagFilter(tuple(include), tuple(exclude)) for include, exclude in json.loads(str(text)))
