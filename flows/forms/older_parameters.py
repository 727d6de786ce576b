"""Parameters that earlier releases stored in deployments' schedules: fields by their former names, and wide patterns of paths."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from catalog.lake.wide_patterns import respell
from catalog.prefect.run_parameters import flat_parameters
from catalog.units import format_duration, parse_duration

Renames = Mapping[str, tuple[str, str]]
"""By a former field, a number of a unit (`grace_hours: 24`), the field of now and the unit: a duration (`grace: 24h`)."""

OLDER_NAMES: Mapping[str, Renames] = {
    "collect-garbage": {"grace_hours": ("grace", "h"), "max_minutes": ("time_limit", "m")},
    "maintain-catalog": {
        "keep_days": ("keep_snapshots", "d"),
        "grace_hours": ("grace", "h"),
        "max_minutes": ("time_limit", "m"),
    },
    "reclaim-space": {"keep_hours": ("keep", "h")},
    "evict-cache": {"keep_hours": ("keep", "h")},
    "scrub-blobs": {"grace_hours": ("grace", "h")},
    "promote-content": {"require_age_days": ("require_age", "d")},
}
"""Flow → the former fields of its request."""

_LISTS: Mapping[str, Mapping[str, str]] = {"promote-content": {"signed_by": "signed_by_key"}}
"""Flow → fields that were lists; a list in one belongs to the other field now, since the first has become a text."""

_PATTERNS: Mapping[str, tuple[str, ...]] = {
    "push-repositories": ("paths", "exclude_paths"),
    "replicate-registry": ("include", "exclude"),
    "reclaim-space": ("repositories",),
    "prefetch-content": ("repositories",),
    "evict-cache": ("caches",),
    "apply-retention": ("repositories",),
}
"""Flow → the fields of its request that are patterns of paths."""


def older_names(flow_name: str) -> Callable[[Any], Any]:
    """Return a validator, to run before a form's own, that reads the former fields of a flow's request."""

    def read(values: Any) -> Any:
        return _renamed(flow_name, values) if isinstance(values, Mapping) else values

    return read


def renew_parameters(flow_name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a flow's run, its fields and patterns of paths, as they are written now.

    Prefect's server knows the fields of now only. What is renewed already stays, so that doing it again changes nothing.
    """
    fields = flat_parameters(parameters)
    patterns = {
        name: [_respelled(pattern) for pattern in fields[name]]
        for name in _PATTERNS.get(flow_name, ())
        if isinstance(fields.get(name), list)
    }
    return _renamed(flow_name, {**fields, **patterns})


def _renamed(flow_name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    names = OLDER_NAMES.get(flow_name, {})
    renewed = {name: value for name, value in values.items() if name not in names}
    for name, now in _LISTS.get(flow_name, {}).items():
        if isinstance(renewed.get(name), list | tuple):
            renewed.setdefault(now, renewed.pop(name))
    for name, (now, unit) in names.items():
        if values.get(name) is not None:
            renewed.setdefault(now, _as_duration(values[name], unit))
    return renewed


def _as_duration(value: object, unit: str) -> object:
    """Return a number of a unit as a duration, in smaller units where a fraction is too long for one; else the value itself."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    if value >= 0 and math.isfinite(value) and round(value, 3) != value:
        with suppress(OverflowError):
            return format_duration(parse_duration(f"1{unit}") * value)
    return f"{value:.10g}{unit}"


def _respelled(pattern: object) -> object:
    if not isinstance(pattern, str) or pattern.endswith("/*/**"):
        return pattern
    return respell(pattern)
