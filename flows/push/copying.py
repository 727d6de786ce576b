"""The stage Copied: the target has all that tags are to point to. No tag is set yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows.push.companions import Companions
from flows.push.comparison import ComparedPath, Items, with_failed
from flows.push.complete_source import WholeSource, upstreams_of
from flows.push.context import PushContext
from flows.push.plan import made_of
from flows.push.source import PushSource
from flows.push.target import PushTarget, pushed
from flows.runs.failures import each
from oci.copy import GraphCopier
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, RemoteNotFound, RemoteRefused


@dataclass(frozen=True, slots=True)
class CopiedPath:
    """One path whose content the target has.

    `mounted` counts blobs that were not sent. `unsigned` are manifests whose Atomic signatures the target does not accept yet,
    each with the root that it belongs to.
    """

    compared: ComparedPath
    items: Items
    mounted: int = 0
    unsigned: Mapping[Digest, Digest] = field(default_factory=dict)

    @classmethod
    def untouched(cls, compared: ComparedPath) -> "CopiedPath":
        """Return a path of which nothing is to be sent."""
        return cls(compared, compared.items)


async def push_content(context: PushContext, compared: ComparedPath) -> CopiedPath:
    """Push what tags are to point to, and what belongs to it and to what the target has already; no tag is set."""
    return await PathPusher(context, compared).run()


class PathPusher:
    """Pushes the content of one path. Use it within one event loop."""

    def __init__(self, context: PushContext, compared: ComparedPath) -> None:
        self._context, self._compared, self._route = context, compared, compared.route
        self._tags_of: dict[str, list[str]] = {}
        for item in compared.of("added", "moved", "unchanged"):
            self._tags_of.setdefault(str(item.digest), []).append(item.tag)

    async def run(self) -> CopiedPath:
        """Push all roots at once; the failure of a root is noted for its tags."""
        context, route = self._context, self._route
        opened = await context.open(route)
        remote = await context.connect(route)
        source = PushSource(context.catalog, opened.snapshot, context.upstreams)
        target = PushTarget(remote, context.neighbours, context.progress, dry_run=context.request.dry_run)
        copier = GraphCopier(
            source,
            target,
            concurrency=context.concurrency,
            parts=source.parts,
            transfer=target.transfer_from(source),
        )
        companions = Companions(context, route, opened, remote, copier)

        async def push(digest: str) -> None:
            root, tags = Digest(digest), self._tags_of[digest]
            pushed.set(context.log.meter((route.path, tags[0])))
            if any(self._compared.items[tag].action != "unchanged" for tag in tags):
                await self._copy_root(copier, source, target, root)
            await companions.push(root)
            context.progress.done += len(tags)

        failed: dict[str, EntrepotError] = {}
        try:
            await each(self._tags_of, push, failed)
        finally:
            await copier.close()
        reasons = {tag: error.message for digest, error in failed.items() for tag in self._tags_of[digest]}
        items = with_failed(self._compared.items, reasons)
        return CopiedPath(self._compared, items, target.mounted, companions.unsigned)

    async def _copy_root(self, copier: GraphCopier, source: PushSource, target: PushTarget, root: Digest) -> None:
        """Push a manifest as it is here.

        A target that refuses an index without some of its children gets all of them; the others come from where it was synced.
        """
        entry = source.version.manifests[root]
        descriptor = Descriptor(entry.media_type, root, entry.size)
        try:
            await copier.copy(descriptor)
        except (RemoteRefused, RemoteNotFound) as error:
            snapshot, children = await self._context.open(self._route)
            if source.lacking.isdisjoint(made_of(snapshot, children, root, set())):
                raise
            origins = await upstreams_of(self._context, self._route, root)
            if not origins:
                raise RemoteRefused(
                    f"{error.message}; it is here without some of its parts, the target wants all, and their origin is not known",
                    status=error.status,
                ) from error
            await self._copy_whole(WholeSource(self._context, self._route, source, origins), target, descriptor)

    async def _copy_whole(self, source: WholeSource, target: PushTarget, root: Descriptor) -> None:
        copier = GraphCopier(
            source,
            target,
            concurrency=self._context.concurrency,
            parts=source.parts,
            transfer=target.transfer_from(source),
        )
        try:
            await copier.copy(root)
        finally:
            await copier.close()
        self._context.log.note(
            f"{self._route.path}: {root.digest} is here without some of its parts, so these were pushed from upstream"
        )
