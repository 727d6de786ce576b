"""Pushes into a namespace that is above a soft limit are told so, and the audit events are told once."""

import logging

from catalog.audit import Event
from registry_api.context import Registry
from registry_api.http.messages import RoutedRequest

log = logging.getLogger("registry_api")


def quota_warnings(registry: Registry, request: RoutedRequest) -> list[str]:
    """What the answer to a push is to warn of; no I/O. An event and a line of the log tell of each crossing."""
    quotas = registry.catalog.quotas
    covering = quotas.covering(request.repository)
    if not covering:
        return []
    warnings = dict(quotas.warnings(request.repository))
    for quota in covering:
        said = warnings.get(quota.pattern)
        if said is None:
            registry.warned.discard(quota.pattern)
        elif quota.pattern not in registry.warned:
            registry.warned.put(quota.pattern, None)
            log.warning("quota soft limit pattern=%s said=%s", quota.pattern, said)
            registry.access.events.note(
                Event(registry.now(), request.user, "exceed-soft-quota", quota.pattern, reason=said)
            )
    return list(warnings.values())
