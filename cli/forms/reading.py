"""Reads values into a form; what does not fit is named as the command line names it, and never repeated."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from oci.errors import InvalidInput

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

_Form = TypeVar("_Form", bound="BaseModel")

Path = tuple[str, ...]
"""A field of a form: its name, after those of the forms that it is within."""

_OTHER_BRANCH = {"string_type", "model_type", "model_attributes_type", "dict_type"}
"""Faults of a value that is of another kind than this branch of a union."""

_BRANCHES = {"str", "int", "float", "bool"}

_MESSAGES = {"missing": "expected a value"}


def read_form(form: type[_Form], values: Mapping[str, object], names: Mapping[Path, str] | None = None) -> _Form:
    """Fill a form; raise InvalidInput that names each wrong value, by `names` where a field has one there."""
    from pydantic import ValidationError

    try:
        return form.model_validate(dict(values))
    except ValidationError as error:
        faults = _of_the_branch_meant(error.errors(include_input=False, include_url=False))
        raise InvalidInput("; ".join(dict.fromkeys(_tell(fault, names or {}) for fault in faults))) from None


def _of_the_branch_meant(faults: "list[ErrorDetails]") -> "list[ErrorDetails]":
    """Return the faults without those of a union's branches that a value was not meant for."""
    meant = {_item(fault) for fault in faults if fault["type"] not in _OTHER_BRANCH}
    return [fault for fault in faults if fault["type"] not in _OTHER_BRANCH or _item(fault) not in meant]


def _item(fault: "ErrorDetails") -> tuple[int | str, ...]:
    """Return where the faulty value stands: a field, or an item of a list."""
    return tuple(fault["loc"][:2])


def _tell(fault: "ErrorDetails", names: Mapping[Path, str]) -> str:
    from flows.forms.faults import MISFIT, fill_names

    place = fault["loc"]
    if fault["type"] == MISFIT:
        within = tuple(part for part in place if isinstance(part, str))
        return fill_names(str(fault["ctx"]["text"]), lambda field: _name((*within, field), names))
    message = _MESSAGES.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    return f"{_name(place, names)}: {message}" if place else message


def _name(place: tuple[int | str, ...], names: Mapping[Path, str]) -> str:
    """Return the option or argument of a field, else the field as its form has it: `sources[2].tags`."""
    parts = [part for part in place if isinstance(part, int) or _is_field(part)]
    fields = tuple(part for part in parts if isinstance(part, str))
    if fields in names:
        return names[fields]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def _is_field(part: str) -> bool:
    """Return whether a part of a place is a field, and not a branch of a union: `str`, `CurateSource`, `function-after[…]`."""
    return part.isidentifier() and part.islower() and part not in _BRANCHES
