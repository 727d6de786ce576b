"""Tasks: what an operator wants to see and have retried. Prefect's engine runs them within its runs, this module within ours."""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from flows.engine.current import DirectRun, direct_run, within_task
from flows.engine.record import RecordedState
from flows.engine.retries import BACKOFF_SECONDS, JITTER, RETRIES, is_worth_a_retry, task_retry_pause
from oci.traces.spans import traced

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from prefect.tasks import Task

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")
_Body = Callable[_Params, Coroutine[Any, Any, _Result]]


class FlowTask(Generic[_Params, _Result]):
    """One task of a flow: `fn`, which is tried again where `is_retried` says so and the error is worth it."""

    def __init__(self, fn: "_Body[_Params, _Result]", name: str, run_name: str, *, is_retried: bool) -> None:
        self.fn, self.name, self.run_name, self.is_retried = fn, name, run_name, is_retried
        functools.update_wrapper(cast("Any", self), fn)

    async def __call__(self, *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        """Run the task."""
        run = direct_run()
        if run is None:
            return await self._run_by_prefect(*args, **kwargs)
        return await self._run_here(run, *args, **kwargs)

    async def _run_here(self, run: DirectRun, *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        task_run_id = run.record.begin_task(self.name, self._run_name(args, kwargs))
        number = 1
        while True:
            try:
                with within_task(task_run_id, number), traced(f"task {self.name}", is_current=True):
                    result = await self.fn(*args, **kwargs)
            except Exception as error:
                message = f"Task run encountered an exception {type(error).__name__}: {error}"
                if not (self.is_retried and number <= RETRIES and is_worth_a_retry(error)):
                    run.record.set_task_state(task_run_id, RecordedState("FAILED", message))
                    raise
                pause = task_retry_pause(number)
                run.logger.warning("%s failed, it is tried again in %.0f s: %s", self.name, pause, error)
                await asyncio.sleep(pause)
                number += 1
                run.record.set_task_state(task_run_id, RecordedState("RUNNING", message, "Retrying"))
            except BaseException:
                run.record.set_task_state(task_run_id, RecordedState("CRASHED", "Execution was cancelled."))
                raise
            else:
                run.record.set_task_state(task_run_id, RecordedState("COMPLETED"))
                return result

    def _run_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if not self.run_name:
            return ""
        return self.run_name.format(**inspect.signature(self.fn).bind(*args, **kwargs).arguments)

    async def _run_by_prefect(self, *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        """Run it without the tags of its flow run: a task with tags asks Prefect's server for their limits before it begins."""
        from prefect.context import TagsContext

        with TagsContext(current_tags=set()):
            return await cast("Awaitable[_Result]", self._prefect_task(*args, **kwargs))

    @functools.cached_property
    def _prefect_task(self) -> "Task[_Params, Any]":
        from prefect.cache_policies import NO_CACHE
        from prefect.tasks import Task, exponential_backoff

        retried: dict[str, Any] = {
            "retries": RETRIES,
            "retry_delay_seconds": exponential_backoff(backoff_factor=BACKOFF_SECONDS),
            "retry_jitter_factor": JITTER,
            "retry_condition_fn": _may_be_retried,
        }
        chosen = retried if self.is_retried else {}
        return Task(self.fn, name=self.name, task_run_name=self.run_name or None, cache_policy=NO_CACHE, **chosen)


def _may_be_retried(_task: object, _run: object, state: "State[Any]") -> bool:
    return is_worth_a_retry(state.data)


def task(
    *, name: str, task_run_name: str = "", is_retried: bool = False
) -> "Callable[[_Body[_Params, _Result]], FlowTask[_Params, _Result]]":
    """Make a function a task. `task_run_name` is a pattern over its parameters; `is_retried` is for what asks an upstream."""

    def decorate(fn: "_Body[_Params, _Result]") -> "FlowTask[_Params, _Result]":
        return FlowTask(fn, name, task_run_name, is_retried=is_retried)

    return decorate
