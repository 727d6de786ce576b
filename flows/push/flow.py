"""The flow `push-repositories`: what paths here serve, pushed to another registry."""

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.push import steps
from flows.push.job import PathPush, PushJob
from flows.push.procedure import Steps, run_push
from flows.push.report import PushFailed, PushResult
from flows.push.request import PushRequest
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.retries import RETRIED
from flows.runs.upstream_slots import upstream_slot


@task(name="compare-tags", **RETRIED)
async def compare(one: PathPush) -> None:
    """Ask where the target's tags point."""
    await steps.compare(one)


@task(name="push-content", **RETRIED)
async def push_content(one: PathPush) -> None:
    """Push manifests, blobs and what belongs to images."""
    await steps.push_content(one)
    items, size = sum(m.items for m in one.moved.values()), sum(m.bytes for m in one.moved.values())
    log = get_run_logger()
    log.info("%s: pushed %d items, %s; mounted %d", one.route.path, items, progress.format_bytes(size), one.mounted)


@task(name="set-tags", **RETRIED)
async def set_tags(one: PathPush) -> None:
    """Point the target's tags to what was pushed."""
    await steps.set_tags(one)


@task(name="sign-tagged", **RETRIED)
async def sign_tagged(one: PathPush) -> None:
    """Add signatures that the target did not take before it had the tags."""
    await steps.sign_tagged(one)


@task(name="delete-tags", **RETRIED)
async def delete_tags(one: PathPush) -> None:
    """Delete tags that a mirror does not keep."""
    await steps.delete_tags(one)


STEPS = Steps(
    compare=compare,
    push_content=push_content,
    set_tags=set_tags,
    sign_tagged=sign_tagged,
    delete_tags=delete_tags,
)


@flow(
    name="push-repositories", flow_run_name="push to {request.target}", persist_result=False, validate_parameters=True
)
async def push_repositories(request: PushRequest) -> "State[PushResult]":
    """Make another registry hold what paths here serve, and point its tags there.

    Run again after any failure: what the registry has is not pushed again.
    """
    settings = read_settings()
    log = get_run_logger()
    async with opened_catalog(settings) as catalog, Upstreams(settings, catalog.remotes) as upstreams:
        job = PushJob(request, catalog, upstreams, progress.watched.get())
        job.progress.waits = upstreams.waiting
        try:
            async with upstream_slot(request.host), progress_artifact("push", request.target, job.progress):
                result = await run_push(job, STEPS, flow_run_id=str(flow_run.id))
        except PushFailed as error:
            summary = error.message.partition("\n")[0]
            await table_artifact("push", request.target, summary, PushResult.of(job, 0.0).rows())
            raise
    for note in result.notes:
        log.warning(note)
    await table_artifact("push", request.target, result.summary(), result.rows())
    log.info(result.summary())
    return Completed(message=result.summary(), data=result)
