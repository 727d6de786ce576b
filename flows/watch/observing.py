"""Asks one upstream where its tags point. What fails is unknown: no failure says that a tag is gone.

1. List the tags, unless the filter names them all.
2. Choose those to ask: tags watched before, then new ones, up to the limit.
3. Ask for each by HEAD. Tags that the list lacks come last: their 404 proves that they are gone.
4. With signatures, look for those of what they point to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from catalog.filters.companions import is_companion_tag
from catalog.watch.records import WatchTerms
from catalog.watch.sightings import SeenTag, Sighting, Sightings, Signatures, TagGone, WatchedRemote
from flows.watch.signatures import SignatureReader
from oci.digest import Digest
from oci.errors import (
    EntrepotError,
    RemoteError,
    RemoteLeftOut,
    RemoteNotFound,
    RemoteRateLimited,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from oci.remote.repository import RemoteRepository

_Key = TypeVar("_Key")
_AT_ONCE = 10
_GIVE_UP = 20
"""Failures of the upstream, one after the other, after which it is asked no more in this watch."""


@dataclass
class Observation:
    """A watch of one upstream under way."""

    repository: RemoteRepository
    base: WatchedRemote
    terms: WatchTerms
    with_signatures: bool = False
    tags: dict[str, Sighting] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    failures: int = 0


async def observe(one: Observation) -> Sightings:
    """Return what an upstream shows of the selected tags. Raise the listing's RemoteError where nothing at all was seen."""
    known = [tag for tag, row in one.base.tags.items() if row.vanished_at is None]
    listed: frozenset[str] | None = None
    failure: RemoteError | None = None
    named = one.terms.tags.named
    if named is None:
        try:
            listed = frozenset([tag async for tag in one.repository.tags()])
        except RemoteError as error:
            failure = error
            if isinstance(error, RemoteUnavailable | RemoteRateLimited | RemoteUnauthorized):
                raise  # the same would come of each tag
            one.remarks.append(f"the list of tags cannot be read: {error.message}")
    is_whole = named is not None or (listed is not None and not one.repository.listing_may_be_cut)
    if listed is not None and not is_whole:
        one.remarks.append("the list of tags may be cut")
    there = _selected(one, listed if listed is not None else named or ())
    chosen = _choose(one, there)
    lacking = [tag for tag in _selected(one, known) if tag not in there]
    one.repository.fail_fast = True  # the next watch asks again
    for tags in (chosen, lacking):
        await _each(tags, lambda tag: _ask(one, tag), stop=lambda: one.failures >= _GIVE_UP)
        one.unknown.update(
            {tag: "not asked: the upstream failed" for tag in tags if tag not in one.tags.keys() | one.unknown}
        )
    if failure is not None and not one.tags:
        raise failure
    if one.with_signatures:
        await _add_signatures(one, listed if is_whole else None)
    return Sightings(one.tags, one.unknown, is_complete=is_whole and len(chosen) == len(there))


def _selected(one: Observation, tags: Iterable[str]) -> dict[str, str]:
    """Return the selected tags in order; those that hold companions of others are left to `--signatures`."""
    rules = one.terms.tags.match(tags).rules
    included = one.terms.tags.named or ()
    return {tag: rule for tag, rule in rules.items() if tag in included or not is_companion_tag(tag)}


def _choose(one: Observation, there: Iterable[str]) -> list[str]:
    """Return the tags to ask, at most as many as are allowed; those watched before come before new ones."""
    ordered = sorted(there, key=lambda tag: (tag not in one.base.tags, tag))
    chosen = ordered[: one.terms.most]
    if left := len(ordered) - len(chosen):
        one.remarks.append(f"{left} tag(s) beyond the limit of {one.terms.most} are not watched; see --most-tags")
    return chosen


async def _ask(one: Observation, tag: str) -> None:
    """Ask where one tag points."""
    try:
        found = await one.repository.resolve(tag)
    except EntrepotError as error:
        if is_gone(error):
            one.tags[tag] = TagGone()
            return
        one.unknown[tag] = error.message
        one.failures += isinstance(error, RemoteUnavailable | RemoteRateLimited)
    else:
        one.failures = 0
        one.tags[tag] = SeenTag(found.digest)


def is_gone(error: EntrepotError) -> bool:
    """Return whether an error proves that upstream does not have what was asked for."""
    return isinstance(error, RemoteNotFound) and not isinstance(error, RemoteLeftOut) and error.status in (404, 410)


async def _add_signatures(one: Observation, listed: frozenset[str] | None) -> None:
    """Add the signatures of what was seen; each digest is looked at once, however many tags point to it."""
    formerly: dict[Digest, list[Signatures]] = {}
    for tag, sighting in one.tags.items():
        if isinstance(sighting, SeenTag):
            row = one.base.tags.get(tag)
            formerly.setdefault(sighting.digest, []).append(row.signatures or {} if row else {})
    reader = SignatureReader(one.repository, listed)
    found: dict[Digest, Signatures | None] = {}

    async def look(digest: Digest) -> None:
        before = {key: seen for known in formerly[digest] for key, seen in known.items()}
        try:
            found[digest] = await reader.read(digest, before)
        except EntrepotError as error:
            found[digest] = None
            one.failures += isinstance(error, RemoteUnavailable | RemoteRateLimited)

    await _each(formerly, look, stop=lambda: one.failures >= _GIVE_UP)
    missed = sum(found.get(digest) is None for digest in formerly)
    if missed:
        one.remarks.append(f"signatures of {missed} digest(s) could not be read in full")
    for tag, sighting in one.tags.items():
        if isinstance(sighting, SeenTag):
            one.tags[tag] = SeenTag(sighting.digest, found.get(sighting.digest))


async def _each(keys: Iterable[_Key], work: Callable[[_Key], Awaitable[None]], *, stop: Callable[[], bool]) -> None:
    """Do the work for each key, some at a time, in order, until all is done or `stop` says so."""
    left = iter(list(keys))

    async def go_on() -> None:
        for key in left:
            if stop():
                return
            await work(key)

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(go_on())
