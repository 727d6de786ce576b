"""A flow and its form by typed reference: both are imported when they are first asked for, since Prefect takes a second."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from pydantic import BaseModel

FormT = TypeVar("FormT", bound="BaseModel")
_Form = TypeVar("_Form", bound="BaseModel", contravariant=True)
ResultT = TypeVar("ResultT")


class FormFlow(Protocol[_Form, ResultT]):
    """A flow of Prefect's that takes one form and ends with a result."""

    @property
    def name(self) -> str:
        """Return the name that Prefect shows."""
        ...

    @property
    def fn(self) -> "Callable[[_Form], Coroutine[Any, Any, State[ResultT]]]":
        """Return the function that the flow runs."""
        ...


@dataclass(frozen=True, slots=True)
class LazyFlow(Generic[FormT, ResultT]):
    """Where a form and its flow are: two functions that import them."""

    form: Callable[[], type[FormT]]
    flow: Callable[[], FormFlow[FormT, ResultT]]
