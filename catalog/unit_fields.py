"""Fields of pydantic models that are sizes, durations and ages: read from numbers or from texts of `catalog.units`."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, WithJsonSchema

from catalog.parsed_text import checked, explained
from catalog.units import UNIT_SECONDS, parse_age, parse_duration, parse_size

_WHOLE = re.compile(r"\s*+[+-]?\d[\d_]{0,30}(\.\d{0,9})?\s*+")
_NUMBER = re.compile(r"\s*+[+-]?(?:\d[\d_]{0,30}(\.\d{0,30})?(e[+-]?\d{1,3})?|\.\d{1,30}|inf)\s*+", re.IGNORECASE)
"""What is left to pydantic, which reads a plain number in any of its forms."""


def _size_of(value: object) -> object:
    return explained(parse_size, value) if isinstance(value, str) and not _WHOLE.fullmatch(value) else value


def _read_in(unit: str) -> Callable[[object], object]:
    """Return a validator that reads a duration as a number of a unit; numbers stay as they are."""

    def read(value: object) -> object:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            return explained(parse_duration, value).total_seconds() / UNIT_SECONDS[unit]
        return value

    return read


_SIZE_TEXT: JsonValue = {"type": "string", "format": "size", "examples": ["500MB", "10GiB"]}
_DURATION_TEXT: JsonValue = {"type": "string", "format": "duration-with-units", "examples": ["90s", "12h"]}
"""`format: duration` of JSON Schema is another language, that of ISO 8601."""
_SIZE_SCHEMA: dict[str, JsonValue] = {"anyOf": [{"type": "integer"}, _SIZE_TEXT]}
_DURATION_SCHEMA: dict[str, JsonValue] = {"anyOf": [{"type": "number"}, _DURATION_TEXT]}


def size_schema(most: int) -> dict[str, JsonValue]:
    """Return the JSON Schema of a size of `most` bytes, or null: pydantic does not say the limits of such fields itself."""
    return {"anyOf": [{"type": "integer", "minimum": 0, "maximum": most}, _SIZE_TEXT, {"type": "null"}]}


def duration_schema(least: float, most: float) -> dict[str, JsonValue]:
    """Return the JSON Schema of a duration between two numbers of the field's unit, or null."""
    return {"anyOf": [{"type": "number", "minimum": least, "maximum": most}, _DURATION_TEXT, {"type": "null"}]}


READS_DURATION, READS_SIZE = BeforeValidator(_read_in("s")), BeforeValidator(_size_of)

Size = Annotated[int, READS_SIZE, WithJsonSchema(_SIZE_SCHEMA, mode="validation")]
"""A number of bytes as a field, read from a number or a text."""

Duration = Annotated[
    str, Field(json_schema_extra={"examples": ["12h", "30d"]}), AfterValidator(checked(parse_duration))
]
"""A duration as a field, kept as its text."""

Seconds = Annotated[float, READS_DURATION, WithJsonSchema(_DURATION_SCHEMA, mode="validation")]
"""A duration in seconds as a field, read from a number of seconds or a text."""

Hours = Annotated[float, BeforeValidator(_read_in("h")), WithJsonSchema(_DURATION_SCHEMA, mode="validation")]
"""A duration in hours as a field, read from a number of hours or a text."""

Age = Annotated[
    str,
    Field(max_length=100, json_schema_extra={"examples": ["30d", "2026-01-31"]}),
    AfterValidator(lambda text: checked(parse_age)(text) if text else text),
]
"""An age as a field, kept as its text; empty: none is asked for."""
