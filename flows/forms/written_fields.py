"""A form as the parameters of its flow, which are its fields; back; and the name of a run of it. All of it is pure."""

import string
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from catalog.parsed_text import describe_faults
from oci.errors import InvalidInput

_FormT = TypeVar("_FormT", bound=BaseModel)
_LONGEST_NAME, _MOST_NAMED = 200, 3


def written_fields(request: BaseModel) -> dict[str, Any]:
    """Return the fields of a form that were set, as parameters of its flow."""
    return request.model_dump(mode="json", exclude_unset=True)


def form_of_fields(form: type[_FormT], fields: Mapping[str, object]) -> _FormT:
    """Return the form that these fields fill in; raise InvalidInput, which repeats no value: it may be a login."""
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput(f"the parameters do not fit: {describe_faults(error)}") from None


def name_run(template: str, form: type[BaseModel], fields: Mapping[str, Any]) -> str:
    """Return the name of a run; of one whose fields do not fit, by the fields as they stand."""
    try:
        request: object = form.model_validate(fields)
    except ValidationError:
        request = _AsGiven(fields)
    try:
        text = _Names().format(template, request=request)
    except (ValueError, AttributeError, IndexError):
        text = template.partition("{")[0]
    return "".join(one for one in text if one.isprintable())[:_LONGEST_NAME].strip()


class _Names(string.Formatter):
    """Formats lists as their first entries."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, tuple | list):
            more = f" and {len(value) - _MOST_NAMED} more" if len(value) > _MOST_NAMED else ""
            return ", ".join(map(str, value[:_MOST_NAMED])) + more
        return str(super().format_field(value, format_spec))


class _AsGiven:
    """Fields that do not fit their form, as attributes."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        value = self._fields.get(name, "?")
        return _AsGiven(value) if isinstance(value, Mapping) else value
