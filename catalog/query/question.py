"""A question in SQL as a value: what is asked, as of when, within which limits, and in which form it is answered."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from catalog.query.views import NOW, AsOf
from catalog.units import parse_time
from oci.errors import InvalidInput
from oci.reference import parse_version_reference

Format = Literal["json", "ndjson", "csv", "parquet", "arrow"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: Mapping[Format, str] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
Value = str | int | float | bool | None
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a question may take: memory and spilled bytes as DuckDB writes them, seconds, rows and bytes of the answer."""

    memory: str
    threads: int
    timeout: float
    rows: int
    size: int
    spill: str

    def lowered(self, *, rows: int | None = None, timeout: float | None = None) -> "Limits":
        """These, or less where less is asked for."""
        return self.changed(rows=min(rows or self.rows, self.rows), timeout=min(timeout or self.timeout, self.timeout))

    def changed(self, *, rows: int | None = None, timeout: float | None = None) -> "Limits":
        """These with others in their place."""
        return Limits(self.memory, self.threads, timeout or self.timeout, rows or self.rows, self.size, self.spill)


@dataclass(frozen=True, slots=True)
class Question:
    """One reading statement, the values of its parameters (`$name`), and what it sees.

    `within`: the repositories whose packages the table functions look up; None: all.
    """

    sql: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    as_of: AsOf = NOW
    within: tuple[str, ...] | None = None


def parse_as_of(*, moment: str = "", version: str = "") -> AsOf:
    """Read an ISO 8601 time (UTC unless it says otherwise), or `NAME@NUMBER`; raise InvalidInput."""
    if moment and version:
        raise InvalidInput("a question is asked as of a time or of a version, not of both")
    if moment:
        return AsOf(moment=parse_time(moment))
    if not version:
        return NOW
    found = parse_version_reference(version)
    if found.version is None:
        raise InvalidInput(f"invalid version {version[:300]!r}: expected NAME@VERSION, such as team/app@12")
    return AsOf(repository=found.repository, version=found.version)


def parse_parameter(text: str) -> tuple[str, Value]:
    """Read `NAME=VALUE`; numbers, true, false and null are taken as such. Raise InvalidInput."""
    name, equals, value = text.partition("=")
    if not equals or not _PARAMETER.fullmatch(name):
        raise InvalidInput(f"invalid parameter {text[:100]!r}: expected NAME=VALUE, which the question calls $NAME")
    return name, read_value(value)


def read_value(text: str) -> Value:
    """A number, true, false or null as such, else the text itself."""
    try:
        found: Any = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, int | float | None) else text
