"""The stage Compared: where the target's tags point, and so what a push would do."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flows.push.companions import has_referrers
from flows.push.context import PushContext, Route
from flows.push.plan import made_of, plan_deletions, plan_push
from flows.push.selection import SelectedPath
from flows.runs.failures import each
from flows.runs.plan_items import PlanItem
from oci.digest import Digest
from oci.errors import EntrepotError, RemoteNotFound
from oci.remote.repository import RemoteRepository

Items = Mapping[str, PlanItem]
"""What becomes of each tag (or digest)."""


@dataclass(frozen=True, slots=True)
class ComparedPath:
    """One path: what becomes of each tag. `has_referrers` tells whether anything refers to what the target has already."""

    route: Route
    roots: Mapping[str, Digest]
    dropped: Mapping[str, str]
    items: Items
    has_referrers: bool = False

    @classmethod
    def without_tags(cls, selected: SelectedPath) -> "ComparedPath":
        """Return a path of which nothing is selected, so that the target is left alone."""
        return cls(selected.route, selected.roots, selected.dropped, {})

    @classmethod
    def failed_whole(cls, selected: SelectedPath, reason: str) -> "ComparedPath":
        """Return a path of which every tag has failed."""
        items = {tag: PlanItem(tag, "failed", digest, reason=reason) for tag, digest in selected.roots.items()}
        return cls(selected.route, selected.roots, selected.dropped, items)

    def of(self, *actions: str) -> list[PlanItem]:
        """Return the items of these actions."""
        return items_of(self.items, *actions)


def items_of(items: Items, *actions: str) -> list[PlanItem]:
    """Return the items of these actions."""
    return [item for item in items.values() if item.action in actions]


def with_failed(items: Items, failed: Mapping[str, str]) -> dict[str, PlanItem]:
    """Return items of which some have failed; `failed` gives the reason for each of their tags."""
    return {
        tag: PlanItem(tag, "failed", item.digest, item.previous, reason=failed[tag]) if tag in failed else item
        for tag, item in items.items()
    }


def fail_whole(items: Items, reason: str) -> dict[str, PlanItem]:
    """Return the items of a path that has failed; those that have failed before keep their reasons."""
    return with_failed(items, {item.tag: reason for item in items_of(items, "added", "moved", "removed")})


async def compare(context: PushContext, selected: SelectedPath) -> ComparedPath:
    """Ask where the target's tags point, by one HEAD each; in a mirror, list them too."""
    route, (snapshot, children) = selected.route, selected.opened
    remote = await context.connect(route)
    there: dict[str, Digest | None] = {}
    slots = asyncio.Semaphore(context.concurrency)

    async def resolve(tag: str) -> None:
        async with slots:
            try:
                there[tag] = (await remote.resolve(tag)).digest
            except RemoteNotFound:
                there[tag] = None
        context.progress.done += 1

    failed: dict[str, EntrepotError] = {}
    await each(selected.roots, resolve, failed)
    reasons = {tag: error.message for tag, error in failed.items()}
    items = {item.tag: item for item in plan_push(selected.roots, there, reasons)}
    if context.request.mode == "mirror":
        items |= await _deletions(selected, remote)
    compared = ComparedPath(route, selected.roots, selected.dropped, items)
    unchanged = [item.digest for item in compared.of("unchanged") if item.digest]
    context.neighbours.add_later(remote.repository, lambda: context.blobs_of(route, unchanged))
    is_referred_to = any(has_referrers(context, snapshot, children, digest) for digest in set(unchanged))
    return replace(compared, has_referrers=is_referred_to)


async def _deletions(selected: SelectedPath, remote: RemoteRepository) -> dict[str, PlanItem]:
    """Return the tags that a mirror does not keep at the target."""
    try:
        listed = [tag async for tag in remote.tags()]
    except RemoteNotFound:
        return {}
    snapshot, children = selected.opened
    seen: set[Digest] = set()
    here = [digest for root in selected.roots.values() for digest in made_of(snapshot, children, root, seen)]
    return {
        tag: PlanItem(tag, "removed", reason=selected.dropped.get(tag, "not here"))
        for tag in plan_deletions(listed, selected.roots, here)
    }
