"""How a flow ends well: its result, and the one line that its state says."""

from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from flows.engine.current import direct_run

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class FlowEnd(Generic[ResultT]):
    """The end of a flow: what people see of it, and its result."""

    message: str
    data: ResultT


def completed(message: str, data: ResultT) -> FlowEnd[ResultT]:
    """Return what a flow returns when all is done; for Prefect's engine that is a state of Prefect's."""
    if direct_run() is not None:
        return FlowEnd(message, data)
    from prefect.states import Completed

    return cast("FlowEnd[ResultT]", Completed(message=message, data=data))
