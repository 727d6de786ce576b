"""The steps of a push as plain functions, for one path each. They know nothing of Prefect."""

import asyncio
from datetime import UTC, datetime

from catalog.content.selection import select_content
from catalog.versions.snapshot import Snapshot
from flows.push.companions import Companions, add_signatures, has_referrers
from flows.push.complete_source import WholeSource, origins_of
from flows.push.job import PathPush
from flows.push.plan import Children, Wanted, made_of, plan_deletions, plan_push, select_one, select_tags
from flows.push.source import PushSource
from flows.push.target import PushTarget, pushed
from flows.runs.failures import each
from flows.runs.metering import Meter
from flows.runs.plan_items import PlanItem
from oci.copy import GraphCopier
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, InvalidInput, ManifestUnknown, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.reference import is_tag
from oci.remote.repository import RemoteRepository


async def compare(one: PathPush) -> None:
    """Select what the path pushes, and ask where the target's tags point, by one HEAD each."""
    snapshot, children = await one.open()
    chosen = await asyncio.to_thread(_choose, one, snapshot, children)
    one.wanted, one.dropped = dict(chosen.roots), dict(chosen.dropped)
    if not one.wanted:
        _leave_alone(one, snapshot)
        return
    remote = await one.remote()
    there: dict[str, Digest | None] = {}
    slots = asyncio.Semaphore(one.job.catalog.settings.copy_concurrency)

    async def resolve(tag: str) -> None:
        async with slots:
            try:
                there[tag] = (await remote.resolve(tag)).digest
            except RemoteNotFound:
                there[tag] = None
        one.job.progress.done += 1

    failed: dict[str, EntrepotError] = {}
    await each(one.wanted, resolve, failed)
    reasons = {tag: error.message for tag, error in failed.items()}
    one.items = {item.tag: item for item in plan_push(one.wanted, there, reasons)}
    if one.job.request.mode == "mirror":
        await _plan_mirror(one, snapshot, children, remote)
    unchanged = [item.digest for item in one.of("unchanged") if item.digest]
    one.job.neighbours.add_later(remote.repository, lambda: one.blobs_of(unchanged))
    one.has_referrers = any(has_referrers(one, snapshot, children, digest) for digest in set(unchanged))


def _leave_alone(one: PathPush, snapshot: Snapshot) -> None:
    """Nothing is selected: no reason for a mirror to delete all that the target has. Raise InvalidInput for the one source."""
    if one.job.request.source and snapshot.tags:
        shown = ", ".join(snapshot.sorted_tags[:5])
        raise InvalidInput(
            f"no tag of {one.route.path} is selected by include, exclude and newest; it has, for example: {shown}"
        )
    one.job.note(f"nothing of {one.route.path} is selected, so the target was left alone there")


def _choose(one: PathPush, snapshot: Snapshot, children: Children) -> Wanted:
    request, companions = one.job.request, one.job.companions
    if not request.is_pinned:
        selection = select_content(one.job.catalog, snapshot, request.wanted, datetime.now(UTC))
        return select_tags(snapshot, children, selection, request.wanted.tags, companions)
    selector = request.selector
    digest = selector.digest or snapshot.tags.get(selector.tag)
    if digest is None or digest not in snapshot.manifests:
        raise ManifestUnknown(f"{selector} is not in version {snapshot.version} of {snapshot.repository}")
    name = one.route.remote.reference.tag or selector.tag or str(digest)
    return select_one(snapshot, children, name, digest, companions)


async def _plan_mirror(one: PathPush, snapshot: Snapshot, children: Children, remote: RemoteRepository) -> None:
    try:
        listed = [tag async for tag in remote.tags()]
    except RemoteNotFound:
        return
    seen: set[Digest] = set()
    here = [digest for root in one.wanted.values() for digest in made_of(snapshot, children, root, seen)]
    for tag in plan_deletions(listed, one.wanted, here):
        one.items[tag] = PlanItem(tag, "removed", reason=one.dropped.get(tag, "not here"))


async def push_content(one: PathPush) -> None:
    """Push what tags are to point to, and what belongs to it and to what the target has already; no tag is set."""
    job, (snapshot, children) = one.job, await one.open()
    remote, source = await one.remote(), PushSource(job.catalog, snapshot, job.upstreams)
    target = PushTarget(remote, job.neighbours, job.progress, dry_run=job.request.dry_run)
    copier = GraphCopier(
        source,
        target,
        concurrency=job.catalog.settings.copy_concurrency,
        parts=source.parts,
        transfer=target.transfer_from(source),
    )
    companions = Companions(one, snapshot, children, remote, copier)
    tags_of: dict[str, list[str]] = {}
    for item in one.of("added", "moved", "unchanged"):
        tags_of.setdefault(str(item.digest), []).append(item.tag)

    async def push(digest: str) -> None:
        root, tags = Digest(digest), tags_of[digest]
        pushed.set(one.moved.setdefault(tags[0], Meter()))
        if any(one.items[tag].action != "unchanged" for tag in tags):
            await _copy_root(one, copier, source, target, root)
        await companions.push(root)
        job.progress.done += len(tags)

    failed: dict[str, EntrepotError] = {}
    try:
        await each(tags_of, push, failed)
    finally:
        await copier.close()
    one.mounted += target.mounted
    for digest, error in failed.items():
        for tag in tags_of[digest]:
            one.fail(tag, error.message)


async def _copy_root(one: PathPush, copier: GraphCopier, source: PushSource, target: PushTarget, root: Digest) -> None:
    """Push a manifest as it is here. A target that refuses an index without some of its children gets it whole, with what is not
    here from where it was synced."""
    entry = source.version.manifests[root]
    descriptor = Descriptor(entry.media_type, root, entry.size)
    try:
        await copier.copy(descriptor)
    except (RemoteRefused, RemoteNotFound) as error:
        snapshot, children = await one.open()
        if source.lacking.isdisjoint(made_of(snapshot, children, root, set())):
            raise
        origins = await origins_of(one, root)
        if not origins:
            raise RemoteRefused(
                f"{error.message}; it is here without some of its parts, the target wants all, and nothing says where they are",
                status=error.status,
            ) from error
        await _copy_whole(one, WholeSource(one, source, origins), target, descriptor)


async def _copy_whole(one: PathPush, source: WholeSource, target: PushTarget, root: Descriptor) -> None:
    concurrency = one.job.catalog.settings.copy_concurrency
    copier = GraphCopier(
        source, target, concurrency=concurrency, parts=source.parts, transfer=target.transfer_from(source)
    )
    try:
        await copier.copy(root)
    finally:
        await copier.close()
    one.job.note(
        f"{one.route.path}: {root.digest} is here without some of its parts, so these were pushed from upstream"
    )


async def set_tags(one: PathPush) -> None:
    """Point the target's tags to what was pushed; a tag that the target does not let go is a failure of that tag."""
    remote, catalog = await one.remote(), one.job.catalog
    snapshot = await asyncio.to_thread(one.snapshot)
    slots = asyncio.Semaphore(catalog.settings.copy_concurrency)

    async def set_tag(tag: str) -> None:
        item = one.items[tag]
        assert item.digest is not None
        async with slots:
            media_type = snapshot.manifests[item.digest].media_type
            manifest = await asyncio.to_thread(catalog.manifests.read, item.digest, media_type)
            try:
                await remote.write_tag(tag, manifest)
            except (RemoteRefused, RemoteUnauthorized) as error:
                if error.status == 401 or item.action != "moved":
                    raise
                said = f"the target does not let the tag move from {item.previous}: {error.message}"
                raise RemoteRefused(said, status=error.status) from error

    waiting = [item.tag for item in one.of("added", "moved") if is_tag(item.tag)]
    failed: dict[str, EntrepotError] = {}
    await each(waiting, set_tag, failed)
    for tag, error in failed.items():
        one.fail(tag, error.message)


async def sign_tagged(one: PathPush) -> None:
    """Add the Atomic signatures that the target did not take before it had the tags; one that fails is a failure of its tags."""
    remote, snapshot = await one.remote(), await asyncio.to_thread(one.snapshot)
    failed: dict[str, EntrepotError] = {}

    async def sign(subject: str) -> None:
        await add_signatures(one, snapshot, remote, Digest(subject))

    await each(one.unsigned, sign, failed)
    for subject, error in failed.items():
        root = one.unsigned[Digest(subject)]
        for tag in [tag for tag, item in one.items.items() if item.digest == root and item.action != "failed"]:
            one.fail(tag, f"it is there, but not its Atomic signature of {subject}: {error.message}")
    one.unsigned = {subject: root for subject, root in one.unsigned.items() if str(subject) in failed}


async def delete_tags(one: PathPush) -> None:
    """Delete the tags that a mirror does not keep: by name, or else by digest where nothing that stays needs the manifest."""
    remote = await one.remote()
    needed: set[Digest] | None = None
    for item in one.of("removed"):
        try:
            if await _delete(remote, item.tag):
                continue
            needed = await _needed(one, remote) if needed is None else needed
            digest = (await remote.resolve(item.tag)).digest
            if digest in needed:
                one.fail(item.tag, f"the target deletes by digest only, and other tags need {digest}")
            elif not await _delete(remote, digest):
                one.items[item.tag] = PlanItem(
                    item.tag, "unchanged", digest, digest, reason="the target does not delete"
                )
                one.job.note(f"{one.route.remote.host} does not delete, so tags that are not here stay there")
        except RemoteNotFound:
            continue  # gone with another tag, or by somebody else's hand
        except EntrepotError as error:
            one.fail(item.tag, error.message)


async def _delete(remote: RemoteRepository, reference: str) -> bool:
    """Whether the registry deletes this; RemoteNotFound says that it is gone."""
    try:
        await remote.delete(reference)
    except RemoteRefused as error:
        if error.status in (400, 405):
            return False
        raise
    return True


async def _needed(one: PathPush, remote: RemoteRepository) -> set[Digest]:
    """The manifests that must stay at the target: all that wanted tags are made of, and what is under any tag that stays."""
    snapshot, children = await one.open()
    needed: set[Digest] = set()
    for root in one.wanted.values():
        list(made_of(snapshot, children, root, needed))
    gone = {item.tag for item in one.of("removed")}
    for tag in [tag async for tag in remote.tags()]:
        if tag not in gone and tag not in one.wanted:
            found = await remote.find_manifest(tag)
            if found is not None:
                needed |= {found.digest, *(child.digest for child in found.manifests)}
    return needed
