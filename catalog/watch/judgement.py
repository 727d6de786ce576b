"""Compares what a watch has seen of a tag with what is remembered of it. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from catalog.filters.tags import parse_tag_pattern
from catalog.watch.sightings import (
    ChangeKind,
    SeenTag,
    Severity,
    Sighting,
    TagGone,
    UpstreamChange,
    WatchedTag,
    signers_of,
)

IMMUTABLE = ("re:v?[0-9]+[.][0-9]+[.][0-9]+([-+_.].*)?",)
"""Tags that look like a full version, `1.2.3`, `v1.2.3` or `1.2.3-alpine`."""


def must_not_move(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return whether a tag fits one of the patterns of tags that must not move; raise InvalidInput for one that is none."""
    tests = [parse_tag_pattern(pattern) for pattern in patterns]
    return lambda tag: any(fits(tag) for fits in tests)


def judge_sighting(
    known: WatchedTag | None,
    tag: str,
    sighting: Sighting,
    now: datetime,
    *,
    is_covered: bool,
    is_immutable: bool,
) -> tuple[WatchedTag | None, list[UpstreamChange]]:
    """Return what is to be remembered of a tag from now on, and what has changed.

    `is_covered`: an earlier watch would have seen the tag, so it is new if nothing is known of it. A tag that returns with
    another digest has moved too.
    """
    if isinstance(sighting, TagGone):
        return _judge_gone(known, now)
    if known is None:
        made = WatchedTag(tag, sighting.digest, now, signatures=sighting.signatures)
        return made, [UpstreamChange("new", tag, sighting.digest)] if is_covered else []
    changes: list[UpstreamChange] = []
    found = replace(known, digest=sighting.digest, last_seen=None, vanished_at=None)
    if known.vanished_at is not None:
        changes.append(UpstreamChange("returned", tag, sighting.digest, known.digest))
    if known.digest is not None and known.digest != sighting.digest:
        severity: Severity = "warning" if is_immutable else "info"
        changes.append(UpstreamChange("moved", tag, sighting.digest, known.digest, severity))
        found = replace(found, moved_from=known.digest, moved_at=now, moves=known.moves + 1)
    if sighting.signatures is not None:
        found = replace(found, signatures=sighting.signatures)
        changes += _judge_signatures(known, sighting)
    return found, changes


def _judge_gone(known: WatchedTag | None, now: datetime) -> tuple[WatchedTag | None, list[UpstreamChange]]:
    if known is None or known.digest is None:
        return None, []
    if known.vanished_at is not None:
        return known, []
    return replace(known, vanished_at=now), [UpstreamChange("vanished", known.tag, None, known.digest)]


def _judge_signatures(known: WatchedTag, sighting: SeenTag) -> list[UpstreamChange]:
    """Return what has changed about who claims to have signed; a first signature is no change."""
    before, after = signers_of(known.signatures), signers_of(sighting.signatures)
    if not before or before == after:
        return []
    kind: ChangeKind = "signer-changed" if after else "signature-lost"
    return [UpstreamChange(kind, known.tag, sighting.digest, known.digest, "warning", before, after)]
