"""Flows whose parameters are the fields of a form, so that Prefect's page shows these and no wrapper around them.

Within Entrepôt such a flow is called with its form. Prefect calls it with the fields, which the form checks within the run:
a run with wrong parameters has its name, and says in its log what is wrong.
"""

import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from prefect.flows import Flow
from prefect.runtime import flow_run
from prefect.utilities.callables import ParameterSchema
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from flows.console.blocks import resolve_blocks
from flows.console.form_schema import form_schema
from flows.forms.order import block_fields
from flows.forms.written_fields import form_of_fields, name_run, written_fields


class FieldsFlow(Flow[Any, Any]):
    """A flow of Prefect's with the fields of `form` as parameters."""

    def __init__(
        self, body: Callable[[Any], Coroutine[Any, Any, Any]], form: type[BaseModel], name: str, run_name: str
    ) -> None:
        self.form, self.body, self.run_name = form, body, run_name
        super().__init__(
            _as_fields(body, form),
            name=name,
            flow_run_name=(lambda: name_run(run_name, form, flow_run.parameters or {})) if run_name else None,
            validate_parameters=False,
            persist_result=False,
        )
        shown = form_schema(form)
        self.parameter_openapi_schema = shown
        self.parameters = ParameterSchema.model_validate(shown)

    def __call__(self, request: BaseModel, **options: Any) -> Any:  # type: ignore[override]  # a form stands for all fields
        """Run the flow with a form."""
        return super().__call__(**written_fields(request), **options)


def fields_flow(body: Callable[[Any], Coroutine[Any, Any, Any]], name: str, run_name: str) -> FieldsFlow:
    """Return a flow of a function of one form; in `run_name`, `{request.x}` is a field or property."""
    return FieldsFlow(body, _form_of(body), name, run_name)


def parameter_schema_of(flow: Flow[..., Any]) -> dict[str, Any]:
    """Return the JSON Schema of a flow's parameters, as a deployment registers it."""
    assert isinstance(flow, FieldsFlow), flow.name
    return flow.parameter_openapi_schema


def _form_of(body: Callable[..., Any]) -> type[BaseModel]:
    """Return the form that a function takes: the type of its parameter `request`."""
    found = inspect.signature(body).parameters["request"].annotation
    if isinstance(found, str):
        found = body.__globals__[found]
    assert isinstance(found, type)
    assert issubclass(found, BaseModel)
    return found


def _as_fields(body: Callable[[Any], Coroutine[Any, Any, Any]], form: type[BaseModel]) -> Callable[..., Any]:
    """Return the function as one of the form's fields, by keyword."""

    @functools.wraps(body)
    async def run(**fields: Any) -> Any:
        given = {name: value for name, value in fields.items() if value is not PydanticUndefined}
        return await body(form_of_fields(form, await resolve_blocks(given)))

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what `inspect` and Prefect read
        [_parameter(name, shown, form) for name, shown in form_schema(form)["properties"].items()]
    )
    return run


def _parameter(name: str, shown: Mapping[str, Any], form: type[BaseModel]) -> inspect.Parameter:
    """Return a field as a parameter. `prefect deploy` makes its own schema of these, with null where nothing is the default."""
    field = form.model_fields[name]
    default = PydanticUndefined if field.is_required() else _written_default(form, name)
    extra = dict(shown)
    extra.pop("default", None)
    if name in block_fields(form):  # its definition would be missing there
        extra |= extra.pop("anyOf")[0] | {"title": extra["title"]}
    if default is None:
        extra = {
            "title": extra.pop("title", name), "position": extra.pop("position"), "anyOf": [extra, {"type": "null"}],
        }  # fmt: skip
    info = FieldInfo(default=default, description=shown.get("description"), json_schema_extra=extra)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=Any)


def _written_default(form: type[BaseModel], name: str) -> Any:
    """Return the default of a field as JSON has it."""
    default = form.model_fields[name].get_default(call_default_factory=True)
    written = form.model_construct(**{name: default}).model_dump(mode="json", include={name}, exclude_unset=True)
    return written[name]
