"""The course of a push: each path is selected, compared, copied, tagged. Which step runs as what is the caller's choice."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from flows.push import comparison, copying, tagging
from flows.push.comparison import ComparedPath, fail_whole
from flows.push.context import PushContext, Route
from flows.push.copying import CopiedPath
from flows.push.report import PushFailed, PushResult
from flows.push.selection import SelectedPath, select_path_tags, select_routes
from flows.push.tagging import TaggedPath
from oci.errors import RemoteError

TagStep = Callable[[PushContext, TaggedPath], Awaitable[TaggedPath]]
"""Changes tags of the target."""


@dataclass(frozen=True, slots=True)
class PushSteps:
    """The steps as they are to be run: plainly, or as tasks that are shown and retried."""

    compare: Callable[[PushContext, SelectedPath], Awaitable[ComparedPath]] = comparison.compare
    push_content: Callable[[PushContext, ComparedPath], Awaitable[CopiedPath]] = copying.push_content
    set_tags: TagStep = tagging.set_tags
    sign_tagged: TagStep = tagging.sign_tagged
    delete_tags: TagStep = tagging.delete_tags


PLAIN = PushSteps()


async def run_push(context: PushContext, steps: PushSteps = PLAIN, *, flow_run_id: str = "") -> PushResult:
    """Run a push to its end and return its result.

    1. Select paths. 2. Select the tags of each, and compare them with the target. 3. Push the content of all. 4. When that has
    failed and is not to be skipped, stop: no tag has changed. 5. Set tags, add signatures that waited for these, delete tags that
    a mirror does not keep.
    Nothing is remembered between runs: one that was killed is run again, and finds what is there.
    Raises PushFailed, InvalidInput, NameUnknown, and what the two ends raise.
    """
    started = time.monotonic()
    request, progress = context.request, context.progress
    selected = await asyncio.to_thread(select_routes, context)  # 1

    def result_of(paths: Sequence[TaggedPath]) -> PushResult:
        seconds = time.monotonic() - started
        return PushResult.of(context, selected, paths, seconds=seconds, flow_run_id=flow_run_id)

    progress.begin("comparing", 0)
    compared = [await _compare(context, route, steps) for route in selected.routes]  # 2
    progress.begin("pushing", sum(len(one.of("added", "moved")) for one in compared if _is_waiting(one)))
    pushed = [await _push(context, one, steps) for one in compared]  # 3
    paths = [TaggedPath.of(one) for one in pushed]
    failed = _failed(paths)
    if failed and (request.on_error == "fail" or not _any_left(paths)):  # 4
        raise PushFailed(failed, result_of(paths), registry=request.host, any_set=False)
    if not request.dry_run:  # 5
        for number, path in enumerate(paths):
            paths[number] = await _tag(context, path, steps)
        failed = _failed(paths)
        if failed and request.on_error == "fail":
            raise PushFailed(failed, result_of(paths), registry=request.host, any_set=True)
    return result_of(paths)


async def _compare(context: PushContext, route: Route, steps: PushSteps) -> ComparedPath:
    selected = await select_path_tags(context, route)
    try:
        return await steps.compare(context, selected) if selected.roots else ComparedPath.without_tags(selected)
    except RemoteError as error:
        _skip(context, route, error)
        return ComparedPath.failed_whole(selected, error.message)


def _is_waiting(compared: ComparedPath) -> bool:
    return bool(compared.of("added", "moved")) or compared.has_referrers


async def _push(context: PushContext, compared: ComparedPath, steps: PushSteps) -> CopiedPath:
    if not _is_waiting(compared):
        return CopiedPath.untouched(compared)
    try:
        return await steps.push_content(context, compared)
    except RemoteError as error:
        _skip(context, compared.route, error)
        items = fail_whole(compared.items, error.message)
        return replace(CopiedPath.untouched(compared), items=items)


async def _tag(context: PushContext, tagged: TaggedPath, steps: PushSteps) -> TaggedPath:
    if tagged.of_actions("added", "moved"):
        tagged = await _change_tags(context, tagged, steps.set_tags)
    if tagged.unsigned:
        tagged = await _change_tags(context, tagged, steps.sign_tagged)
    if tagged.of_actions("removed"):
        tagged = await _change_tags(context, tagged, steps.delete_tags)
    return tagged


async def _change_tags(context: PushContext, tagged: TaggedPath, step: TagStep) -> TaggedPath:
    try:
        return await step(context, tagged)
    except RemoteError as error:
        _skip(context, tagged.route, error)
        return replace(tagged, items=fail_whole(tagged.items, error.message))


def _skip(context: PushContext, route: Route, error: RemoteError) -> None:
    """Note what failed for a whole path, such as a login that may not push there; raise it unless failures are skipped."""
    if context.request.on_error == "fail":
        raise error
    context.log.note(f"{route.path}: {error.message}")


def _failed(paths: Sequence[TaggedPath]) -> dict[str, str]:
    return {name: reason for path in paths for name, reason in path.failed.items()}


def _any_left(paths: Sequence[TaggedPath]) -> bool:
    return any(item.action != "failed" for path in paths for item in path.items.values())
