"""The course of a copy: tags are selected, compared, copied, set. Nothing of it stays here, and it knows no Prefect."""

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from catalog.filters.companions import CompanionFilter, is_companion_tag
from catalog.filters.tags import Selection
from catalog.remotes.clients import Upstreams
from catalog.settings import Settings
from flows.copy.companions import CopiedCompanions
from flows.copy.ends import CopyTarget, open_source, open_target
from flows.copy.narrowed import NarrowedSource
from flows.copy.report import CopyFailed, CopyResult
from flows.copy.request import CopyRequest
from flows.push.plan import is_fallback, plan_push
from flows.push.target import pushed
from flows.runs.failures import each
from flows.runs.plan_items import PlanItem
from flows.runs.progress import Progress
from flows.runs.run_log import RunLog
from oci.copy import GraphCopier
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, InvalidInput, RemoteRefused
from oci.manifest import Manifest
from oci.reference import is_tag


@dataclass(frozen=True, slots=True)
class CopyContext:
    """Everything that the stages of a copy share and none of them changes. Use it within one event loop."""

    request: CopyRequest
    source: NarrowedSource
    target: CopyTarget
    concurrency: int
    progress: Progress = field(default_factory=Progress)
    log: RunLog[str] = field(default_factory=RunLog)

    @property
    def slots(self) -> asyncio.Semaphore:
        """Return places for requests that run at once."""
        return asyncio.Semaphore(self.concurrency)

    def name_at_target(self, tag: str) -> str:
        """Return the tag (or digest) under which a tag of the source is set."""
        is_renamed = self.request.destination.tag and tag == self.request.origin.pinned
        return self.request.destination.tag if is_renamed else tag


@dataclass(frozen=True, slots=True)
class SelectedTags:
    """Tags, or a digest, with what they point to; `listed` are all tags of the source where it was asked for them."""

    pointing: Mapping[str, Descriptor]
    dropped: Mapping[str, str]
    failed: Mapping[str, str]
    listed: Collection[str] | None = None


async def open_copy(
    request: CopyRequest, settings: Settings, upstreams: Upstreams, progress: Progress | None = None
) -> CopyContext:
    """Connect to both ends of a copy."""
    progress = progress or Progress()
    progress.waits = upstreams.waiting
    source = NarrowedSource(await open_source(request.origin, upstreams), request.platform_filter)
    target = await open_target(request.destination, upstreams, progress, dry_run=request.dry_run)
    return CopyContext(request, source, target, settings.copy_concurrency, progress)


async def run_copy(context: CopyContext) -> CopyResult:
    """Run a copy to its end and return its result.

    1. Select tags, and find out where they point. 2. Compare with the target, by one HEAD each. 3. Copy what it lacks, children
    before lists, and companions. 4. When that has failed and is not to be skipped, stop: no tag has changed. 5. Set tags.
    Nothing is remembered between runs: one that was killed is run again, and finds what is there.
    Raises CopyFailed, InvalidInput, and what the two ends raise.
    """
    started = time.monotonic()
    request, progress = context.request, context.progress
    selected = await select_tags_of(context)  # 1
    items = await compare_tags(context, selected)  # 2
    progress.begin("copying", len(items))
    items, companions = await copy_content(context, selected, items)  # 3

    def result_of(items: Mapping[str, PlanItem]) -> CopyResult:
        return CopyResult.of(context.log, request, items, selected.dropped, context.target.mounted, started)

    failed = {name: item.reason for name, item in items.items() if item.action == "failed"}
    if failed and (request.on_error == "fail" or len(failed) == len(items)):  # 4
        raise CopyFailed(failed, result_of(items), any_set=False)
    if not request.dry_run:
        items = await set_tags_there(context, {**selected.pointing, **companions}, items)  # 5
        failed = {name: item.reason for name, item in items.items() if item.action == "failed"}
        if failed and request.on_error == "fail":
            raise CopyFailed(failed, result_of(items), any_set=True)
    return result_of(items)


async def select_tags_of(context: CopyContext) -> SelectedTags:
    """Select tags of the source and ask where they point; its list is asked for only where that is needed.

    Raises InvalidInput where filters select none of its tags.
    """
    request, tags = context.request, context.request.tags
    context.progress.begin("selecting", 0)
    listed: Collection[str] | None = None
    if request.origin.pinned:
        selection = Selection({request.origin.pinned: "named"})
    else:
        named = tags.named
        if named is None:
            listed = frozenset([tag async for tag in context.source.tags()])
        selection = tags.select(sorted(listed) if listed is not None else named or ())
        digests = {str(digest): "included by its digest" for digest in tags.digests}
        selection = Selection({**selection.rules, **digests}, selection.dropped)
    rules = {tag: rule for tag, rule in selection.rules.items() if not is_fallback(tag) or request.origin.pinned}
    dropped = dict(selection.dropped)
    lists = dict.fromkeys(selection.rules, "a list of referrers: these are copied, and listed by the target")
    dropped |= {tag: reason for tag, reason in lists.items() if tag not in rules}
    if not rules and selection.dropped:
        shown = ", ".join(list(selection.dropped)[:5])
        raise InvalidInput(f"no tag of {context.source.name} is selected; it has, for example: {shown}")
    pointing: dict[str, Descriptor] = {}
    failed: dict[str, EntrepotError] = {}
    slots = context.slots

    async def resolve(tag: str) -> None:
        async with slots:
            reference = str(request.origin.digest or tag) if request.origin.pinned else tag
            pointing[tag] = await context.source.resolve(reference)

    await each(rules, resolve, failed)
    if context.source.changes_indexes:
        context.log.note("indexes list the selected platforms alone, so they have other digests than at the source")
    ordered = {tag: pointing[tag] for tag in rules if tag in pointing}
    return SelectedTags(ordered, dropped, {tag: error.message for tag, error in failed.items()}, listed)


async def compare_tags(context: CopyContext, selected: SelectedTags) -> dict[str, PlanItem]:
    """Ask where the target's tags point; return what becomes of each tag of the source."""
    there: dict[str, Digest | None] = {}
    failed: dict[str, EntrepotError] = {}
    slots = context.slots

    async def find(tag: str) -> None:
        async with slots:
            there[tag] = await context.target.find(context.name_at_target(tag))

    await each(selected.pointing, find, failed)
    roots = {tag: descriptor.digest for tag, descriptor in selected.pointing.items()}
    items = plan_push(roots, there, {tag: error.message for tag, error in failed.items()})
    lost = [PlanItem(tag, "failed", reason=reason) for tag, reason in selected.failed.items()]
    return {item.tag: item for item in (*items, *lost)}


async def copy_content(
    context: CopyContext, selected: SelectedTags, items: Mapping[str, PlanItem]
) -> tuple[dict[str, PlanItem], dict[str, Descriptor]]:
    """Copy what tags point to, then their companions; return what became of each tag, and cosign's tags that are to be set."""
    source, target, log = context.source, context.target, context.log

    def parts(manifest: Manifest) -> list[tuple[str, Descriptor]]:
        target.note_parts(source, manifest)
        return list(manifest.children())

    copier = GraphCopier(
        source, target, concurrency=context.concurrency, parts=parts, transfer=target.transfer_from(source)
    )
    companions = CopiedCompanions(
        source, target, copier, CompanionFilter(context.request.companions), log, listed=selected.listed
    )
    further: dict[str, Descriptor] = {}
    failed: dict[str, EntrepotError] = {}
    roots: dict[str, list[str]] = {}
    for tag, item in items.items():
        if item.action != "failed":
            roots.setdefault(selected.pointing[tag].digest, []).append(tag)

    async def copy(digest: str) -> None:
        tags = roots[digest]
        root = selected.pointing[tags[0]]
        pushed.set(log.meter(tags[0]))
        if any(items[tag].action != "unchanged" for tag in tags):
            await copier.copy(root)
        for tag, descriptor in (await companions.tags_for(root)).items():
            if tag not in items:
                await copier.copy(descriptor)
                further[tag] = descriptor
        await companions.copy(root)
        context.progress.done += len(tags)

    try:
        await each(roots, copy, failed)
    finally:
        await copier.close()
    reasons = {tag: error.message for digest, error in failed.items() for tag in roots[digest]}
    done = {
        tag: PlanItem(tag, "failed", item.digest, item.previous, reason=reasons[tag]) if tag in reasons else item
        for tag, item in items.items()
    }
    done |= await compare_tags(context, SelectedTags(further, {}, {}))
    return done, further


async def set_tags_there(
    context: CopyContext, pointing: Mapping[str, Descriptor], items: Mapping[str, PlanItem]
) -> dict[str, PlanItem]:
    """Point the target's tags to what was copied, companions' first; one that is refused is a failure of that tag."""
    slots = context.slots
    failed: dict[str, EntrepotError] = {}

    async def set_tag(tag: str) -> None:
        async with slots:
            manifest = await context.source.read_manifest(pointing[tag])
            if not is_tag(context.name_at_target(tag)):
                await context.target.keep(manifest)
                return
            try:
                await context.target.write_tag(context.name_at_target(tag), manifest)
            except RemoteRefused as error:
                if items[tag].action != "moved":
                    raise
                message = f"the target does not let the tag move from {items[tag].previous}: {error.message}"
                raise RemoteRefused(message, status=error.status) from error

    waiting = [tag for tag, item in items.items() if item.action in ("added", "moved")]
    await each([tag for tag in waiting if is_companion_tag(tag)], set_tag, failed)
    await each([tag for tag in waiting if not is_companion_tag(tag)], set_tag, failed)
    return {
        tag: replace(item, action="failed", reason=failed[tag].message) if tag in failed else item
        for tag, item in items.items()
    }
