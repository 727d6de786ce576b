"""Flows: a form, and the function that does what it asks for. One for Prefect's engine is a flow of Prefect's."""

import functools
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from flows.engine.current import direct_run
from flows.engine.endings import FlowEnd, ResultT

if TYPE_CHECKING:
    from pydantic import BaseModel

_Form = TypeVar("_Form", bound="BaseModel", contravariant=True)
FormT = TypeVar("FormT", bound="BaseModel")


class FormFlow(Protocol[_Form, ResultT]):
    """A flow that takes one form and ends with a result."""

    @property
    def name(self) -> str:
        """Return the name that Prefect shows."""
        ...

    @property
    def run_name(self) -> str:
        """Return the pattern of a run's name, over the form as `request`; empty: any name."""
        ...

    @property
    def body(self) -> "Callable[[_Form], Coroutine[Any, Any, FlowEnd[ResultT]]]":
        """Return the function that the flow runs."""
        ...


class DirectFlow(Generic[FormT, ResultT]):
    """A flow in a process that has no Prefect."""

    def __init__(
        self, fn: "Callable[[FormT], Coroutine[Any, Any, FlowEnd[ResultT]]]", name: str, run_name: str
    ) -> None:
        self.body, self.name, self.run_name = fn, name, run_name
        functools.update_wrapper(cast("Any", self), fn)


def flow(
    *, name: str, flow_run_name: str = ""
) -> "Callable[[Callable[[FormT], Coroutine[Any, Any, FlowEnd[ResultT]]]], FormFlow[FormT, ResultT]]":
    """Make a function a flow.

    Prefect looks for flows of its own class in the modules that a deployment names, and has been imported by then. A process that
    has not imported it does without: that takes a second.
    """

    def decorate(fn: "Callable[[FormT], Coroutine[Any, Any, FlowEnd[ResultT]]]") -> "FormFlow[FormT, ResultT]":
        if "prefect" not in sys.modules:
            return DirectFlow(fn, name, flow_run_name)
        return cast("FormFlow[FormT, ResultT]", _flow_of_prefect(fn, name, flow_run_name))

    return decorate


def _flow_of_prefect(fn: Any, name: str, flow_run_name: str) -> Any:
    from flows.console.form_flow import fields_flow

    return fields_flow(fn, name, flow_run_name)


async def result_of(flow: FormFlow[FormT, ResultT], request: FormT) -> ResultT:
    """Run a flow within a run, and return its result: as a run of its own where Prefect's engine runs them."""
    if direct_run() is not None:
        return (await flow.body(request)).data
    return cast("ResultT", await cast("Any", flow)(request))
