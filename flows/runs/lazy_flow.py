"""A flow and its form by typed reference: both are imported when they are first asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from flows.engine.endings import ResultT
from flows.engine.flows import FormFlow, FormT


def _never(_request: object) -> bool:
    return False


def always(_request: object) -> bool:
    """Tell of a flow whose work is spread over workers."""
    return True


@dataclass(frozen=True, slots=True)
class LazyFlow(Generic[FormT, ResultT]):
    """Where a form and its flow are: two functions that import them.

    `needs_engine` tells whether a run of a form takes Prefect's engine, where there is a server.
    """

    form: Callable[[], type[FormT]]
    flow: Callable[[], FormFlow[FormT, ResultT]]
    needs_engine: Callable[[FormT], bool] = _never
