"""The parameters of flow runs as Prefect keeps them: the fields of a flow's form."""

from collections.abc import Mapping
from typing import Any

_WRAPPER = "request"


def flat_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a flow's form; earlier releases kept them within one parameter `request`. Pure."""
    wrapped = parameters.get(_WRAPPER)
    if isinstance(wrapped, Mapping) and parameters.keys() == {_WRAPPER}:
        return dict(wrapped)
    return dict(parameters)
