"""State that the receiver of hooks, their administration and the background tasks share."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from catalog.settings import Settings
from catalog.state.documents import StateDocument
from catalog.state.shared_state import SharedState
from catalog.webhooks.administration import WebhookAdministration
from catalog.webhooks.queue import EventQueue, open_queue
from catalog.webhooks.records import EventRecords, open_event_records
from registry_api.auth.rate_limits import TokenBuckets
from registry_api.http.fair_queue import FairQueue
from registry_api.management.dependencies import RequestContext

_RATE = 50.0
"""Events per second that one address may send to the receiver; bursts of ten seconds' worth pass."""
_UNPROVEN = 4
"""Signed bodies of unknown senders that the receiver holds in memory at a time."""


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The records of hooks and subscriptions, the queue of what waits for them, and the limits of the receiver."""

    document: StateDocument[EventRecords]
    queue: EventQueue
    rate: TokenBuckets = field(default_factory=lambda: TokenBuckets(_RATE))
    unproven: FairQueue = field(default_factory=lambda: FairQueue(_UNPROVEN, waiting=8))

    @property
    def records(self) -> EventRecords:
        """Return the current records; no I/O that waits."""
        return self.document.value

    def administration(self, context: RequestContext) -> WebhookAdministration:
        """Return the administration of hooks, in the caller's name; raise Unauthorized or Denied."""
        context.check_administrator()
        return WebhookAdministration(
            self.document,
            self.queue,
            context.registry.access.events,
            actor=context.account,
            now=context.registry.now,
            address=context.address,
        )


def open_webhooks(settings: Settings, state: SharedState | None) -> Webhooks:
    """Open this installation's records and queue; the caller closes the queue."""
    return Webhooks(open_event_records(settings, state), open_queue(settings, state))


async def _depend_on_webhooks(request: Request) -> Webhooks:
    webhooks: Webhooks = request.app.state.webhooks
    return webhooks


CurrentWebhooks = Annotated[Webhooks, Depends(_depend_on_webhooks)]
"""The state of webhooks, as a route takes it."""
