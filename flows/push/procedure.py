"""The course of a push: compare, push content, set tags, delete tags. Which step runs as what is the caller's choice."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flows.push import steps as push_steps
from flows.push.job import PathPush, PushJob, choose_paths
from flows.push.report import PushFailed, PushResult
from flows.runs.plan_items import PlanItem
from oci.errors import RemoteError

Step = Callable[[PathPush], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps as they are to be run: plainly, or as tasks that are shown and retried."""

    compare: Step = push_steps.compare
    push_content: Step = push_steps.push_content
    set_tags: Step = push_steps.set_tags
    sign_tagged: Step = push_steps.sign_tagged
    delete_tags: Step = push_steps.delete_tags


PLAIN = Steps()


async def run_push(job: PushJob, steps: Steps = PLAIN, *, flow_run_id: str = "") -> PushResult:
    """Run a push to its end and say what came of it.

    1. Choose paths. 2. Compare each with the target. 3. Push the content of all. 4. When that has failed and is not to be
    skipped, stop: no tag has changed. 5. Set tags, add signatures that waited for these, delete tags that a mirror does not keep.
    Nothing is remembered between runs: one that was killed is run again, and finds what is there.
    Raises PushFailed, InvalidInput, NameUnknown, and what the two ends raise.
    """
    started = time.monotonic()
    await asyncio.to_thread(choose_paths, job)  # 1
    job.progress.begin("comparing", 0)
    for one in job.paths:  # 2
        await _guarded(one, steps.compare)
    waiting = [one for one in job.paths if one.of("added", "moved") or one.has_referrers]
    job.progress.begin("pushing", sum(len(one.of("added", "moved")) for one in waiting))
    for one in waiting:  # 3
        await _guarded(one, steps.push_content)
    if job.failed and (job.request.on_error == "fail" or not _any_left(job)):  # 4
        raise PushFailed(job.failed, registry=job.request.host, any_set=False)
    if not job.request.dry_run:  # 5
        for one in job.paths:
            if one.of("added", "moved"):
                await _guarded(one, steps.set_tags)
            if one.unsigned:
                await _guarded(one, steps.sign_tagged)
            if one.of("removed"):
                await _guarded(one, steps.delete_tags)
        if job.failed and job.request.on_error == "fail":
            raise PushFailed(job.failed, registry=job.request.host, any_set=True)
    return PushResult.of(job, time.monotonic() - started, flow_run_id)


async def _guarded(one: PathPush, step: Step) -> None:
    """Run a step. What fails for the whole path, a login that may not push there, fails its tags where failures are skipped."""
    try:
        await step(one)
    except RemoteError as error:
        if one.job.request.on_error == "fail":
            raise
        one.items = one.items or {tag: PlanItem(tag, "failed", digest) for tag, digest in one.wanted.items()}
        for item in one.of("added", "moved", "removed", "failed"):
            one.fail(item.tag, item.reason or error.message)
        one.job.note(f"{one.route.path}: {error.message}")


def _any_left(job: PushJob) -> bool:
    return any(item.action != "failed" for one in job.paths for item in one.items.values())
