"""Fields as forms of older releases called them: stored parameters of deployments and schedules have them still."""

from collections.abc import Callable, Mapping
from typing import Any


def older_names(names: Mapping[str, tuple[str, str]]) -> Callable[[Any], Any]:
    """Return a validator to run before a form's own. `names` has, by the older field, the field of now and the unit.

    The older field was a number of the unit (`grace_hours: 24`), the field of now is a duration (`grace: 24h`).
    """

    def read(values: Any) -> Any:
        if not isinstance(values, Mapping) or not names.keys() & values.keys():
            return values
        found = {name: value for name, value in values.items() if name not in names}
        for name, (now, unit) in names.items():
            if values.get(name) is not None:
                found.setdefault(now, f"{values[name]}{unit}")
        return found

    return read
