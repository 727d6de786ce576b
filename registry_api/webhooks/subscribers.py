"""Notifies subscribers of commits: each from its own position in the commit log, in order, at least once."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from catalog.audit import Event
from catalog.commits.commit_log import CommitLog, CommitNote
from catalog.distributions.records import Distribution
from catalog.webhooks.cloud_events import (
    Notification,
    act_notification,
    body_of,
    distribution_notification,
    version_notification,
)
from catalog.webhooks.queue import Cursor
from catalog.webhooks.records import (
    ACT_DONE,
    ACT_REFUSED,
    DISTRIBUTION_CHANGED,
    UPSTREAM_EVENTS,
    VERSION_CREATED,
    Subscription,
)
from oci.errors import EntrepotError
from registry_api.context import Registry
from registry_api.webhooks.context import Webhooks

if TYPE_CHECKING:
    from catalog.webhooks.delivery import Receivers

log = logging.getLogger("registry_api")
_BATCH = 100
_LONGEST_PAUSE = 300.0
_OF_ACTS = (ACT_DONE, ACT_REFUSED, *UPSTREAM_EVENTS.values())
"""Types of events that are read from the audit events of a commit."""
_PAUSE = 5.0
"""Seconds before a retry after an unexpected exception."""
_SLACK = timedelta(days=1)
"""How far clocks may differ: a version may bear a time this much earlier than a commit before it."""


def read_notifications(
    subscription: Subscription, note: CommitNote, log_of_commits: CommitLog, find: Callable[[str], Distribution | None]
) -> list[Notification]:
    """Return a subscriber's notifications of one commit, always in the same order; reads only what the subscription selects."""
    notifications: list[Notification] = []
    if subscription.selects(VERSION_CREATED):
        for name in sorted(filter(subscription.covers, note.versions)):
            notifications += map(version_notification, log_of_commits.versions(name, note.versions[name]))
    if subscription.selects(DISTRIBUTION_CHANGED):
        notifications += [
            distribution_notification(path, change, find(path), note.position, note.happened_at)
            for path, change in sorted(note.distributions.items())
            if subscription.covers(path)
        ]
    if note.acts and any(map(subscription.selects, _OF_ACTS)):
        acts = [
            act_notification(event, note.position, index)
            for index, event in enumerate(log_of_commits.acts(note.position))
        ]
        notifications += [act for act in acts if subscription.selects(act.kind)]
    return notifications


def is_cut(notes: Sequence[CommitNote], cursor: Cursor) -> bool:
    """Return whether the log no longer has the commits after a position."""
    return bool(notes) and notes[0].position != cursor.position + 1


def delivery_pause(failures: int, retry_after: float | None) -> float:
    """Return the seconds to wait after so many consecutive failures."""
    return max(min(float(2 ** min(failures, 20)) / 2, _LONGEST_PAUSE), retry_after or 0.0)


class SubscriberDelivery:
    """The delivery to one subscriber: its task follows the commit log."""

    def __init__(
        self,
        registry: Registry,
        webhooks: Webhooks,
        commits: CommitLog,
        receivers: "Receivers",
        subscription: Subscription,
    ) -> None:
        self._registry, self._webhooks, self._commits = registry, webhooks, commits
        self._receivers, self._subscription = receivers, subscription
        self.changed = asyncio.Event()
        self.changed.set()

    async def follow(self, source: str) -> None:
        """Deliver for ever; an unexpected exception is logged, and the delivery retried."""
        is_positioned = False
        while True:
            await self.changed.wait()
            self.changed.clear()
            try:
                if not is_positioned:
                    await self._ensure_position()
                    is_positioned = True
                while await self._deliver_batch(source):
                    pass
            except Exception:  # whatever it is, a retry may succeed; nobody would notice a task that ended
                log.exception("notifying a subscriber failed; retrying subscription=%s", self._subscription.id)
                await asyncio.sleep(_PAUSE)
                self.changed.set()

    async def _ensure_position(self) -> None:
        """Begin now without a position, or with one beyond the catalogue's, which was restored from a backup."""
        run, queue, key = self._registry.threads.run, self._webhooks.queue, self._subscription.id
        cursor, last = await run(queue.cursor, key), await run(self._commits.last_position)
        if cursor is None or cursor.position > last:
            log.warning("a subscriber's position was lost; it is notified from now on subscription=%s", key)
            await run(queue.begin, key, last, self._registry.now())

    async def _deliver_batch(self, source: str) -> bool:
        """Deliver the notifications of the next commits; return False when there are no more."""
        run, queue, key = self._registry.threads.run, self._webhooks.queue, self._subscription.id
        cursor = await run(queue.cursor, key)
        if cursor is None:
            return False  # the subscription is being removed
        notes = await run(self._commits.read, cursor.position, limit=_BATCH)
        if is_cut(notes, cursor):
            log.warning("the commit log was cut; a subscriber may be notified twice subscription=%s", key)
            until = await run(self._commits.last_position)
            notes = await run(self._commits.versions_since, cursor.since - _SLACK, until)
            cursor = replace(cursor, told=0) if notes else replace(cursor, position=until, told=0)
        for index, note in enumerate(notes):
            notifications = await run(
                read_notifications, self._subscription, note, self._commits, self._registry.catalog.distributions.find
            )
            for number, notification in enumerate(notifications[cursor.told :], cursor.told + 1):
                cursor = await self._send(source, notification, cursor, notes[index:])
                if cursor.position >= note.position:
                    return True  # given up, as far as the cursor says
                cursor = replace(cursor, told=number)
                await run(queue.move, key, cursor)
            is_last_of_position = index + 1 == len(notes) or notes[index + 1].position != note.position
            position = note.position if is_last_of_position else cursor.position
            cursor = replace(cursor, position=position, told=0, since=note.happened_at)
        await run(queue.move, key, cursor)
        return len(notes) == _BATCH

    async def _send(
        self, source: str, notification: Notification, cursor: Cursor, notes: Sequence[CommitNote]
    ) -> Cursor:
        """Send one notification until it is accepted; once commits are too old, return a cursor behind these."""
        body = body_of(notification, self._subscription.format, source)
        if body is None:
            return cursor
        while True:
            retry_after = None
            try:
                await self._receivers.deliver(self._subscription, body)
                return replace(cursor, delivered=cursor.delivered + 1, failures=0, error="")
            except EntrepotError as error:
                retry_after = getattr(error, "retry_after", None)
                cursor = replace(cursor, failures=cursor.failures + 1, error=error.message[:500])
            log.warning(
                "a notification failed subscription=%s event=%s failures=%d error=%s",
                self._subscription.id, notification.id, cursor.failures, cursor.error,
            )  # fmt: skip
            given_up = self._give_up(cursor, notes)
            await self._registry.threads.run(self._webhooks.queue.move, self._subscription.id, given_up or cursor)
            await asyncio.sleep(delivery_pause(cursor.failures, retry_after))
            if given_up is not None:
                return given_up

    def _give_up(self, cursor: Cursor, notes: Sequence[CommitNote]) -> Cursor | None:
        oldest = self._registry.now() - timedelta(hours=self._subscription.give_up_hours)
        old = [note for note in notes if note.happened_at < oldest]
        if not old or notes[0].happened_at >= oldest:
            return None
        reason = (
            f"{len(old)} commit(s) could not be delivered for {self._subscription.give_up_hours:g} h: {cursor.error}"
        )
        log.error("old events of a subscriber were dropped subscription=%s: %s", self._subscription.id, reason)
        event = Event(self._registry.now(), "", "drop-events", self._subscription.id, "refused", reason=reason)
        self._registry.access.events.note(event)
        return replace(cursor, position=old[-1].position, told=0, since=old[-1].happened_at)


class SubscriberDeliveries:
    """A task for each subscriber, so that one that does not respond delays no other."""

    def __init__(
        self, registry: Registry, webhooks: Webhooks, open_receivers: Callable[[], "Receivers"], source: str
    ) -> None:
        self._registry, self._webhooks, self._source = registry, webhooks, source
        self._open_receivers = open_receivers
        self._commits: CommitLog | None = None
        self._receivers: Receivers | None = None
        self._tasks: dict[str, tuple[SubscriberDelivery, asyncio.Task[None]]] = {}

    async def step(self) -> None:
        """Start and end tasks as the records require, and wake them after a commit; else this costs one stat of a file."""
        subscriptions = self._webhooks.records.subscriptions
        for key in self._tasks.keys() - subscriptions.keys():
            await _end(self._tasks.pop(key)[1])
        if not subscriptions:
            return
        if self._commits is None or self._receivers is None:
            self._commits = await self._registry.threads.run(self._registry.catalog.commits.log)
            self._receivers = await self._registry.threads.run(self._open_receivers)
        if not self._commits.is_current():
            await self._registry.threads.run(self._commits.look)
            if not self._registry.catalog.snapshots.is_current():
                await self._registry.threads.run(self._registry.catalog.snapshots.refresh)
            for delivery, _ in self._tasks.values():
                delivery.changed.set()
        for key in subscriptions.keys() - self._tasks.keys():
            delivery = SubscriberDelivery(
                self._registry, self._webhooks, self._commits, self._receivers, subscriptions[key]
            )
            self._tasks[key] = delivery, asyncio.create_task(delivery.follow(self._source))

    async def close(self) -> None:
        """End the tasks, and close the connections."""
        for _, task in self._tasks.values():
            await _end(task)
        self._tasks.clear()
        if self._receivers is not None:
            await self._receivers.close()


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def follow_commits(subscribers: SubscriberDeliveries, *, every: float) -> None:
    """Notify subscribers, for ever."""
    while True:
        try:
            await subscribers.step()
        except Exception:  # as above
            log.exception("notifying subscribers failed; retrying")
            await asyncio.sleep(_PAUSE)
        await asyncio.sleep(every)
