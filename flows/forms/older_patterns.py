"""Patterns of paths in stored parameters of earlier releases, whose `*` crossed parts of paths."""

from collections.abc import Mapping
from typing import Any

from catalog.lake.wide_patterns import respell

_FIELDS: Mapping[str, tuple[str, ...]] = {
    "push-repositories": ("paths", "exclude_paths"),
    "replicate-registry": ("include", "exclude"),
    "reclaim-space": ("repositories",),
    "prefetch-content": ("repositories",),
    "evict-cache": ("caches",),
    "apply-retention": ("repositories",),
}
"""Flow → the fields of its request that are patterns of paths."""


def respell_parameters(flow_name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a flow's run with the patterns of paths in its request spelled anew.

    What is spelled anew already stays, so that doing it again changes nothing.
    """
    request = parameters.get("request")
    if not isinstance(request, Mapping):
        return dict(parameters)
    fields = {
        name: [_respelled(one) for one in request[name]]
        for name in _FIELDS.get(flow_name, ())
        if isinstance(request.get(name), list)
    }
    return {**parameters, "request": {**request, **fields}}


def _respelled(pattern: object) -> object:
    if not isinstance(pattern, str) or pattern.endswith("/*/**"):
        return pattern
    return respell(pattern)
