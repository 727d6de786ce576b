"""How far a run of this process has come, noted beside Prefect, whose server may be lost meanwhile."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.flows import Flow


@dataclass(slots=True)
class Course:
    """How far a run has come, whatever Prefect knows of it: its id, and what it gave once its work was done."""

    run_id: str = ""
    url: str = ""
    """Where people see it; empty where that ends with the command."""
    is_done: bool = False
    given: Any = None

    @property
    def result(self) -> Any:
        """The run's result: a flow gives it as it is, or as the data of the state that it ends with."""
        from prefect.client.schemas.objects import State

        return self.given.data if isinstance(self.given, State) else self.given


def observed(flow: "Flow[..., Any]", course: Course, begin: Callable[[str], None]) -> "Flow[..., Any]":
    """The same flow, whose body notes its course; `begin` is called with the run's id before the work."""
    from prefect.runtime import flow_run

    body = flow.fn

    @functools.wraps(body)
    async def noted(*args: Any, **kwargs: Any) -> Any:
        course.run_id = str(flow_run.id)
        begin(course.run_id)
        course.given = await body(*args, **kwargs)
        course.is_done = True
        return course.given

    watched_flow = copy.copy(flow)
    watched_flow.fn = noted
    return watched_flow
