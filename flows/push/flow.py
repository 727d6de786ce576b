"""The flow `push-repositories`: what paths here serve, pushed to another registry."""

import asyncio
from datetime import UTC, datetime

from catalog.browse.lineage import departure_event
from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from catalog.units import format_size
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.push import comparison, copying, tagging
from flows.push.comparison import ComparedPath
from flows.push.context import PushContext
from flows.push.copying import CopiedPath
from flows.push.procedure import PushSteps, run_push
from flows.push.report import PushFailed, PushResult
from flows.push.request import PushRequest
from flows.push.selection import SelectedPath
from flows.push.tagging import TaggedPath
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.upstream_slots import upstream_slot
from flows.runs.work import Work, as_step
from oci.errors import EntrepotError

ACTOR = "push-repositories"


@task(name="compare-tags", is_retried=True)
async def _compare(work: Work[PushContext, SelectedPath]) -> ComparedPath:
    """Ask where the target's tags point."""
    return await comparison.compare(work.context, work.value)


@task(name="push-content", is_retried=True)
async def _push_content(work: Work[PushContext, ComparedPath]) -> CopiedPath:
    """Push manifests, blobs and companions of images."""
    context, path = work.context, work.value.route.path
    pushed = await copying.push_content(context, work.value)
    meters = [meter for (of_path, _tag), meter in context.log.moved.items() if of_path == path]
    items, size = sum(meter.items for meter in meters), sum(meter.bytes for meter in meters)
    run_logger().info("%s: pushed %d items, %s; mounted %d", path, items, format_size(size), pushed.mounted)
    return pushed


@task(name="set-tags", is_retried=True)
async def _set_tags(work: Work[PushContext, TaggedPath]) -> TaggedPath:
    """Point the target's tags to what was pushed."""
    return await tagging.set_tags(work.context, work.value)


@task(name="sign-tagged", is_retried=True)
async def _sign_tagged(work: Work[PushContext, TaggedPath]) -> TaggedPath:
    """Add signatures that the target did not accept before it had the tags."""
    return await tagging.sign_tagged(work.context, work.value)


@task(name="delete-tags", is_retried=True)
async def _delete_tags(work: Work[PushContext, TaggedPath]) -> TaggedPath:
    """Delete tags that a mirror does not keep."""
    return await tagging.delete_tags(work.context, work.value)


STEPS = PushSteps(
    compare=as_step(_compare),
    push_content=as_step(_push_content),
    set_tags=as_step(_set_tags),
    sign_tagged=as_step(_sign_tagged),
    delete_tags=as_step(_delete_tags),
)


async def note_push(catalog: Catalog, result: PushResult) -> None:
    """Record what went out; a catalogue that takes no changes keeps nothing from being pushed."""
    now = datetime.now(UTC)
    events = []
    for one in result.paths:
        served = catalog.distributions.find(one.path)
        if served is not None and not result.dry_run:
            events.append(
                departure_event(
                    "push-to-registry",
                    served.repository,
                    one.version,
                    one.target,
                    actor=ACTOR,
                    run_id=result.flow_run_id,
                    now=now,
                )
            )
    if not events:
        return
    try:
        await asyncio.to_thread(catalog.events.record, events)
    except EntrepotError as error:
        run_logger().warning("the push is not recorded: %s", error)


@flow(name="push-repositories", flow_run_name="push to {request.target}")
async def push_repositories(request: PushRequest) -> FlowEnd[PushResult]:
    """Make another registry hold what paths here serve, and point its tags there.

    Run again after any failure: what the registry has is not pushed again.
    """
    settings = read_settings()
    log = run_logger()
    async with opened_catalog(settings) as catalog, Upstreams(settings, catalog.remotes) as upstreams:
        context = PushContext(request, catalog, upstreams, progress.watched.get() or progress.Progress())
        context.progress.waits, context.progress.verb = upstreams.waiting, "sent"
        try:
            async with upstream_slot(request.host), progress_artifact(context.progress):
                result = await run_push(context, STEPS, flow_run_id=recorded_run_id())
            await note_push(catalog, result)
        except PushFailed as error:
            summary = error.message.partition("\n")[0]
            await table_artifact("push", request.target, summary, error.result.rows())
            raise
    for note in result.notes:
        log.warning(note)
    await table_artifact("push", request.target, result.summary(), result.rows())
    log.info(result.summary())
    return completed(result.summary(), result)
