"""Blocks what a tag that must not move has moved to, at every path here that has its content from that upstream.

1. A tag's first known digest is the one it should have: what it moves to is blocked, unless it is that one. 2. What is blocked
already stays as it is, and what an operator has released is left released. 3. The blocks are durable before the watch is
recorded, so that a watch which is killed blocks with the next run.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from catalog.catalog import Catalog
from catalog.holds.rules import HoldDecision, fits
from catalog.watch.judgement import judge_sighting
from catalog.watch.records import ACTOR, WatchTerms
from catalog.watch.sightings import Sightings, UpstreamChange, WatchedRemote
from flows.watch.request import is_remote
from flows.watch.sources import watched_name
from oci.digest import Digest
from oci.errors import NameInvalid
from oci.remote.address import parse_remote

_LIBRARY = "library/"
"""The part of a name that may be left out at Docker Hub: a cache has two paths to such a repository."""


def block_moved(
    catalog: Catalog, source: str, base: WatchedRemote, seen: Sightings, terms: WatchTerms, now: datetime
) -> list[HoldDecision]:
    """Block the digests to which tags have moved that must not; return the blocks that are new. Durable on return."""
    moved = moves_of_immutable_tags(base, seen, terms, now)
    if not moved:
        return []
    first = catalog.watches.first_digests(base.remote, [one.tag for one in moved])
    found = blocks_of(
        moved, first, base.remote, paths_from(catalog, source, base.remote), catalog.holds.decisions(), now
    )
    return catalog.holds.decide_all(found)


def moves_of_immutable_tags(
    base: WatchedRemote, seen: Sightings, terms: WatchTerms, now: datetime
) -> list[UpstreamChange]:
    """Return the moves of tags that must not move. Pure."""
    return [
        change
        for tag, sighting in seen.tags.items()
        if terms.is_immutable(tag)
        for change in judge_sighting(base.tags.get(tag), tag, sighting, now, is_covered=False, is_immutable=True)[1]
        if change.kind == "moved"
    ]


def blocks_of(
    moved: Iterable[UpstreamChange],
    first: Mapping[str, Digest | None],
    remote: str,
    paths: Collection[str],
    decisions: Collection[HoldDecision],
    now: datetime,
) -> list[HoldDecision]:
    """Return the blocks of moves that are not made yet. `first` are the first digests of tags that have moved before. Pure."""
    blocked = {(one.digest, one.pattern) for one in decisions if one.action == "block" and one.is_in_force(now)}
    released = [one for one in decisions if one.action == "release" and one.is_in_force(now)]
    found: dict[tuple[Digest, str], HoldDecision] = {}
    for change in moved:
        digest = change.digest
        if digest is None or digest == first.get(change.tag, change.previous):
            continue
        for path in paths:
            is_released = any(one.digest == digest and fits(one.pattern, path, path) for one in released)
            if (digest, path) not in blocked and not is_released:
                reason = f"{remote}:{change.tag} has moved to it from {change.previous}, and must not move"
                found.setdefault((digest, path), HoldDecision(digest, "block", path, reason[:500], ACTOR, now))
    return list(found.values())


def paths_from(catalog: Catalog, source: str, remote: str) -> list[str]:
    """Return the paths here that have content from an upstream: repositories, paths below caches, and the watched path."""
    found = set(catalog.history.repositories_from(lambda name: _is_of(name, remote)))
    if not is_remote(source):
        served = catalog.distributions.find(source)
        found.add(served.repository if served is not None and served.repository else source)
    for cache in catalog.distributions.caches():
        found.update(f"{cache.path}/{rest}" for rest in _below(cache.remote, remote))
    return sorted(found)


def _below(base: str, remote: str) -> list[str]:
    """Return the names by which a cache of `base` has an upstream repository."""
    stem = watched_name(parse_remote(f"{base}/name")).removesuffix("name").removesuffix(_LIBRARY)
    rest = remote.removeprefix(stem)
    return [name for name in {rest, rest.removeprefix(_LIBRARY)} if rest != remote and _is_of(f"{base}/{name}", remote)]


def _is_of(name: str, remote: str) -> bool:
    try:
        return watched_name(parse_remote(name)) == remote
    except NameInvalid:
        return False
