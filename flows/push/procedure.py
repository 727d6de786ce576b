"""The course of a push: Selected, Compared, Pushed, Tagged. Which step runs as what is the caller's choice."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from flows.push import comparison, copying, tagging
from flows.push.comparison import Compared, fail_whole
from flows.push.context import PushContext, Route
from flows.push.copying import Pushed
from flows.push.report import PushFailed, PushResult
from flows.push.selection import Selected, select, select_routes
from flows.push.tagging import Tagged
from oci.errors import RemoteError

TagStep = Callable[[PushContext, Tagged], Awaitable[Tagged]]
"""Changes tags of the target."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps as they are to be run: plainly, or as tasks that are shown and retried."""

    compare: Callable[[PushContext, Selected], Awaitable[Compared]] = comparison.compare
    push_content: Callable[[PushContext, Compared], Awaitable[Pushed]] = copying.push_content
    set_tags: TagStep = tagging.set_tags
    sign_tagged: TagStep = tagging.sign_tagged
    delete_tags: TagStep = tagging.delete_tags


PLAIN = Steps()


async def run_push(context: PushContext, steps: Steps = PLAIN, *, flow_run_id: str = "") -> PushResult:
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

    def result_of(paths: Sequence[Tagged]) -> PushResult:
        seconds = time.monotonic() - started
        return PushResult.of(context, selected, paths, seconds=seconds, flow_run_id=flow_run_id)

    progress.begin("comparing", 0)
    compared = [await _compare(context, route, steps) for route in selected.routes]  # 2
    progress.begin("pushing", sum(len(one.of("added", "moved")) for one in compared if _is_waiting(one)))
    pushed = [await _push(context, one, steps) for one in compared]  # 3
    paths = [Tagged.of(one) for one in pushed]
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


async def _compare(context: PushContext, route: Route, steps: Steps) -> Compared:
    selected = await select(context, route)
    try:
        return await steps.compare(context, selected) if selected.roots else Compared.without_tags(selected)
    except RemoteError as error:
        _skip(context, route, error)
        return Compared.failed_whole(selected, error.message)


def _is_waiting(compared: Compared) -> bool:
    return bool(compared.of("added", "moved")) or compared.has_referrers


async def _push(context: PushContext, compared: Compared, steps: Steps) -> Pushed:
    if not _is_waiting(compared):
        return Pushed.untouched(compared)
    try:
        return await steps.push_content(context, compared)
    except RemoteError as error:
        _skip(context, compared.route, error)
        items = fail_whole(compared.items, error.message)
        return replace(Pushed.untouched(compared), items=items)


async def _tag(context: PushContext, tagged: Tagged, steps: Steps) -> Tagged:
    if tagged.of_actions("added", "moved"):
        tagged = await _change_tags(context, tagged, steps.set_tags)
    if tagged.unsigned:
        tagged = await _change_tags(context, tagged, steps.sign_tagged)
    if tagged.of_actions("removed"):
        tagged = await _change_tags(context, tagged, steps.delete_tags)
    return tagged


async def _change_tags(context: PushContext, tagged: Tagged, step: TagStep) -> Tagged:
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


def _failed(paths: Sequence[Tagged]) -> dict[str, str]:
    return {name: reason for path in paths for name, reason in path.failed.items()}


def _any_left(paths: Sequence[Tagged]) -> bool:
    return any(item.action != "failed" for path in paths for item in path.items.values())
