"""The stage Tagged: the target's tags point to what was pushed, and a mirror's other tags are deleted."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from flows.push.companions import add_signatures
from flows.push.comparison import Items, items_of, with_failed
from flows.push.context import PushContext, Route
from flows.push.copying import CopiedPath
from flows.push.plan import made_of
from flows.runs.failures import each
from flows.runs.plan_items import PlanItem
from oci.digest import Digest
from oci.errors import EntrepotError, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.reference import is_tag
from oci.remote.repository import RemoteRepository


@dataclass(frozen=True, slots=True)
class TaggedPath:
    """One path whose tags are set, or have failed. `unsigned` as in CopiedPath, as far as signatures are still to be added."""

    pushed: CopiedPath
    items: Items
    unsigned: Mapping[Digest, Digest]

    @classmethod
    def of(cls, pushed: CopiedPath) -> "TaggedPath":
        """Return a path of which no tag has been set yet."""
        return cls(pushed, pushed.items, pushed.unsigned)

    @property
    def route(self) -> Route:
        """The route of the path."""
        return self.pushed.compared.route

    def of_actions(self, *actions: str) -> list[PlanItem]:
        """Return the items of these actions."""
        return items_of(self.items, *actions)

    def with_failed(self, failed: Mapping[str, str]) -> "TaggedPath":
        """Return the path with further failures; `failed` gives the reason for each tag."""
        return replace(self, items=with_failed(self.items, failed))

    @property
    def failed(self) -> dict[str, str]:
        """The reason for each tag that failed, by its whole name at the target."""
        name = self.route.remote.reference.repository
        return {f"{name}{'@' if ':' in item.tag else ':'}{item.tag}": item.reason for item in self.of_actions("failed")}


async def set_tags(context: PushContext, tagged: TaggedPath) -> TaggedPath:
    """Point the target's tags to what was pushed; a tag that the target refuses to move is a failure of that tag."""
    remote, catalog = await context.connect(tagged.route), context.catalog
    snapshot = await asyncio.to_thread(context.snapshot, tagged.route)
    slots = asyncio.Semaphore(context.concurrency)

    async def set_tag(tag: str) -> None:
        item = tagged.items[tag]
        assert item.digest is not None
        async with slots:
            media_type = snapshot.manifests[item.digest].media_type
            manifest = await asyncio.to_thread(catalog.manifests.read, item.digest, media_type)
            try:
                await remote.write_tag(tag, manifest)
            except (RemoteRefused, RemoteUnauthorized) as error:
                if error.status == 401 or item.action != "moved":
                    raise
                message = f"the target does not let the tag move from {item.previous}: {error.message}"
                raise RemoteRefused(message, status=error.status) from error

    waiting = [item.tag for item in tagged.of_actions("added", "moved") if is_tag(item.tag)]
    failed: dict[str, EntrepotError] = {}
    await each(waiting, set_tag, failed)
    return tagged.with_failed({tag: error.message for tag, error in failed.items()})


async def sign_tagged(context: PushContext, tagged: TaggedPath) -> TaggedPath:
    """Add the signatures that the target did not accept before it had the tags; one that fails is a failure of its tags."""
    remote = await context.connect(tagged.route)
    snapshot = await asyncio.to_thread(context.snapshot, tagged.route)
    failed: dict[str, EntrepotError] = {}

    async def sign(subject: str) -> None:
        await add_signatures(context, snapshot, remote, Digest(subject))

    await each(tagged.unsigned, sign, failed)
    reasons: dict[str, str] = {}
    for subject, error in failed.items():
        root = tagged.unsigned[Digest(subject)]
        reason = f"it is there, but not its Atomic signature of {subject}: {error.message}"
        reasons |= {
            tag: reason for tag, item in tagged.items.items() if item.digest == root and item.action != "failed"
        }
    unsigned = {subject: root for subject, root in tagged.unsigned.items() if str(subject) in failed}
    return replace(tagged.with_failed(reasons), unsigned=unsigned)


async def delete_tags(context: PushContext, tagged: TaggedPath) -> TaggedPath:
    """Delete the tags that a mirror does not keep: by name, or else by digest where nothing that stays needs the manifest."""
    remote = await context.connect(tagged.route)
    needed: set[Digest] | None = None
    items = dict(tagged.items)
    failed: dict[str, str] = {}
    removed = tagged.of_actions("removed")
    for item in removed:
        try:
            if await _delete(remote, item.tag):
                continue
            if needed is None:
                needed = await _needed(context, tagged, remote, gone={one.tag for one in removed} - failed.keys())
            digest = (await remote.resolve(item.tag)).digest
            if digest in needed:
                failed[item.tag] = f"the target deletes by digest only, and other tags need {digest}"
            elif not await _delete(remote, digest):
                items[item.tag] = PlanItem(item.tag, "unchanged", digest, digest, reason="the target does not delete")
                context.log.note(f"{tagged.route.remote.host} does not delete, so tags that are not here stay there")
        except RemoteNotFound:
            continue  # deleted with another tag, or by somebody else
        except EntrepotError as error:
            failed[item.tag] = error.message
    return replace(tagged, items=with_failed(items, failed))


async def _delete(remote: RemoteRepository, reference: str) -> bool:
    """Return whether the registry deletes a reference; raise RemoteNotFound where it is gone already."""
    try:
        await remote.delete(reference)
    except RemoteRefused as error:
        if error.status in (400, 405):
            return False
        raise
    return True


async def _needed(
    context: PushContext, tagged: TaggedPath, remote: RemoteRepository, *, gone: Collection[str]
) -> set[Digest]:
    """Return the manifests that must stay at the target: those of selected tags, and of all tags that are not `gone`."""
    snapshot, children = await context.open(tagged.route)
    roots = tagged.pushed.compared.roots
    needed: set[Digest] = set()
    for root in roots.values():
        list(made_of(snapshot, children, root, needed))
    for tag in [tag async for tag in remote.tags()]:
        if tag not in gone and tag not in roots:
            manifest = await remote.find_manifest(tag)
            if manifest is not None:
                needed |= {manifest.digest, *(child.digest for child in manifest.manifests)}
    return needed
