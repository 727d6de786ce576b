"""Runs a flow in this process, and ends when Prefect's server is lost, with what can be told of the run all the same."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from catalog.catalog import open_catalog
from catalog.settings import Settings
from flows.direct.api_client import PrefectLost
from flows.direct.find_server import is_answering
from flows.direct.run import Show
from flows.engine.endings import ResultT
from flows.engine.flows import FormFlow, FormT
from flows.forms.run_tags import run_tags
from flows.orchestration.ad_hoc.course import Course, observed
from flows.orchestration.ad_hoc.used_api import Say, UsedApi
from flows.recovery.run_locks import TAG, forget_run, hold_run, locks_folder
from flows.runs.progress import Progress, watched

if TYPE_CHECKING:
    from prefect.flows import Flow

T = TypeVar("T")


async def run_flow(
    flow: FormFlow[FormT, ResultT],
    request: FormT,
    *,
    settings: Settings,
    api: UsedApi,
    say: Say,
    show: Show | None = None,
    on_begin: Callable[[], None] = lambda: None,
) -> ResultT:
    """Run a flow in this process; return its result, raise what it raises. `show` is given the progress while it runs.

    When Prefect's server is lost, the result is returned if the work was done, else PrefectLost tells what was committed.
    Tasks of Prefect's are left behind then: end the process without waiting for them.
    """
    from prefect import tags
    from prefect.utilities.urls import url_for

    progress, course, locks = Progress(on_word=say), Course(), locks_folder(settings)
    watched.set(progress)

    def begin(run_id: str) -> None:
        hold_run(locks, run_id)
        on_begin()
        if api.server is None:  # one that goes on after the command
            course.url = url_for("flow-run", obj_id=run_id, url_type="ui") or ""
            say(f"flow run {course.url or run_id}")

    followed = observed(cast("Flow[..., Any]", flow), course, begin)
    with tags(TAG, *run_tags(request.model_dump(mode="json"))):
        running = asyncio.ensure_future(cast("Awaitable[ResultT]", followed(request)))
    watching = asyncio.create_task(api.lost())
    shown = asyncio.create_task(show(progress)) if show else None
    try:
        await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done() or (running.exception() is not None and not await _answers(api)):
            return cast("ResultT", _without_prefect(course, settings, api, say))
        return running.result()
    except Exception:
        if course.url and api.answers:
            say(f"its log: {course.url}")
        raise
    finally:
        for task in filter(None, (watching, shown)):
            task.cancel()
        await asyncio.gather(*filter(None, (watching, shown)), return_exceptions=True)
        if api.answers:
            await _stop(running)
            _forget(locks, course)


async def _answers(api: UsedApi) -> bool:
    """Return whether the server answers now: a flow that fails without it has failed for that reason."""
    api.answers = await asyncio.to_thread(is_answering, api.url, timeout=5.0)
    return api.answers


async def _stop(running: "asyncio.Future[T]") -> None:
    if not running.done():
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _forget(locks: Path, course: Course) -> None:
    if course.run_id:
        forget_run(locks, course.run_id)


def _without_prefect(course: Course, settings: Settings, api: UsedApi, say: Say) -> Any:
    lost = f"Prefect's server at {api.url} did not answer for {api.patience:.0f} s"
    if course.is_done:
        say(f"note: {lost}; the work was done before, and its record there is incomplete")
        return course.result
    made = _committed(settings, course.run_id) if course.run_id else []
    what = f"committed before that: {', '.join(made)}" if made else "nothing was committed"
    raise PrefectLost(
        f"{lost}, so the run was given up; {what}; what was copied is kept: run the command again",
        detail={"flow_run_id": course.run_id or None, "committed": made},
    )


def _committed(settings: Settings, run_id: str) -> list[str]:
    """The versions that a run has made."""
    with open_catalog(settings) as catalog:
        made = f"SELECT repository, number FROM versions WHERE flow_run_id = '{run_id}' ORDER BY ALL"  # noqa: S608  # an id of Prefect's
        found = catalog.query.run(made)
    return [f"version {row['number']} of {row['repository']}" for row in found.to_pylist()]
