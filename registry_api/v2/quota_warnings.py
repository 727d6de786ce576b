"""Soft limits of quotas: a push beyond one gets a warning, and each crossing is one audit event."""

import logging

from catalog.audit import Event
from registry_api.context import Registry
from registry_api.http.messages import RoutedRequest

log = logging.getLogger("registry_api")


def quota_warnings(registry: Registry, request: RoutedRequest) -> list[str]:
    """Return the warnings of a push's response; no I/O. Notes each crossing as an audit event, and logs it."""
    quotas = registry.catalog.quotas
    covering = quotas.covering(request.repository)
    if not covering:
        return []
    warnings = dict(quotas.warnings(request.repository))
    for quota in covering:
        warning = warnings.get(quota.pattern)
        if warning is None:
            registry.warned.discard(quota.pattern)
        elif quota.pattern not in registry.warned:
            registry.warned.put(quota.pattern, None)
            log.warning("quota soft limit pattern=%s warning=%s", quota.pattern, warning)
            registry.access.events.note(
                Event(registry.now(), request.user, "exceed-soft-quota", quota.pattern, reason=warning)
            )
    return list(warnings.values())
