"""State that the receiver of hooks, their administration and the background tasks share."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from catalog.access.secret_file import PrivateFile
from catalog.settings import Settings
from catalog.webhooks.administration import WebhookAdministration
from catalog.webhooks.queue import EventQueue, events_file
from catalog.webhooks.records import EventRecords, event_records_file
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

    file: PrivateFile[EventRecords]
    queue: EventQueue
    rate: TokenBuckets = field(default_factory=lambda: TokenBuckets(_RATE))
    unproven: FairQueue = field(default_factory=lambda: FairQueue(_UNPROVEN, waiting=8))

    @property
    def records(self) -> EventRecords:
        """Return the current records; costs one look at a file's date."""
        return self.file.value

    def administration(self, context: RequestContext) -> WebhookAdministration:
        """Return the administration of hooks, in the caller's name; raise Unauthorized or Denied."""
        context.check_administrator()
        return WebhookAdministration(
            self.file,
            self.queue,
            context.registry.access.events,
            actor=context.account,
            now=context.registry.now,
            address=context.address,
        )


def open_webhooks(settings: Settings) -> Webhooks:
    """Open this home's records and queue; the caller closes the queue."""
    return Webhooks(event_records_file(settings), EventQueue(events_file(settings), busy_timeout=settings.lock_timeout))


async def _depend_on_webhooks(request: Request) -> Webhooks:
    webhooks: Webhooks = request.app.state.webhooks
    return webhooks


CurrentWebhooks = Annotated[Webhooks, Depends(_depend_on_webhooks)]
"""The state of webhooks, as a route takes it."""
