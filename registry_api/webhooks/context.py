"""What the parts that take events in and tell of them share."""

from dataclasses import dataclass

from catalog.access.secret_file import PrivateFile
from catalog.settings import Settings
from catalog.webhooks.administration import EventDesk
from catalog.webhooks.queue import EventQueue, events_file
from catalog.webhooks.records import EventRecords, event_records_file
from registry_api.management.dependencies import Asker


@dataclass(frozen=True, slots=True)
class Eventing:
    """The records of hooks and subscriptions, and what waits for them."""

    file: PrivateFile[EventRecords]
    queue: EventQueue

    @property
    def records(self) -> EventRecords:
        """What there is now; a glance at a file's date."""
        return self.file.value

    def desk(self, asker: Asker) -> EventDesk:
        """For administrators; raise Unauthorized or Denied."""
        gate = asker.registry.gate
        gate.check_admin(asker.caller, asker.address, "administration")
        return EventDesk(
            self.file,
            self.queue,
            gate.events,
            actor=asker.caller.account,
            now=asker.registry.now,
            address=asker.address,
        )


def open_eventing(settings: Settings) -> Eventing:
    """Open this home's records and queue; close the queue."""
    return Eventing(event_records_file(settings), EventQueue(events_file(settings), busy_timeout=settings.lock_timeout))
