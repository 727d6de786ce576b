"""Tells subscribers of what was committed: each by a place of its own in the record of commits, in order, at least once."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from catalog.audit import Event
from catalog.commits.commit_log import CommitLog, CommitNote
from catalog.distributions.records import Distribution
from catalog.webhooks.cloud_events import Told, act_told, body_of, distribution_told, version_told
from catalog.webhooks.delivery import Receivers, deliver
from catalog.webhooks.queue import Cursor
from catalog.webhooks.records import ACT_DONE, ACT_REFUSED, DISTRIBUTION_CHANGED, VERSION_CREATED, Subscription
from oci.errors import EntrepotError
from registry_api.context import Registry
from registry_api.webhooks.context import Eventing

log = logging.getLogger("registry_api")
_BATCH = 100
_LONGEST_PAUSE = 300.0
_PAUSE = 5.0
"""Seconds before another try, when it is we who failed."""
_SLACK = timedelta(days=1)
"""How much earlier than the last commit told a version may say it was made, and still have come after it."""


def read_told(
    subscription: Subscription, note: CommitNote, log_of_commits: CommitLog, find: Callable[[str], Distribution | None]
) -> list[Told]:
    """What a subscriber is told of one commit, always in the same order; no question is asked for what is not wanted."""
    found: list[Told] = []
    if subscription.wants(VERSION_CREATED):
        for name in sorted(filter(subscription.covers, note.versions)):
            found += map(version_told, log_of_commits.versions(name, note.versions[name]))
    if subscription.wants(DISTRIBUTION_CHANGED):
        found += [
            distribution_told(path, change, find(path), note.position, note.happened_at)
            for path, change in sorted(note.distributions.items())
            if subscription.covers(path)
        ]
    if note.acts and (subscription.wants(ACT_DONE) or subscription.wants(ACT_REFUSED)):
        acts = [act_told(event, note.position, index) for index, event in enumerate(log_of_commits.acts(note.position))]
        found += [one for one in acts if subscription.wants(one.kind)]
    return found


def is_cut(notes: Sequence[CommitNote], cursor: Cursor) -> bool:
    """Whether commits after a place are no longer in the record."""
    return bool(notes) and notes[0].position != cursor.position + 1


def pause_after(failures: int, retry_after: float | None) -> float:
    """Seconds to wait after so many failures in turn."""
    return max(min(float(2 ** min(failures, 20)) / 2, _LONGEST_PAUSE), retry_after or 0.0)


class Telling:
    """One subscriber, and the task that tells it."""

    def __init__(
        self,
        registry: Registry,
        eventing: Eventing,
        commits: CommitLog,
        receivers: Receivers,
        subscription: Subscription,
    ) -> None:
        self._registry, self._eventing, self._commits = registry, eventing, commits
        self._receivers, self._subscription = receivers, subscription
        self.news = asyncio.Event()
        self.news.set()

    async def follow(self, source: str) -> None:
        """Tell for ever; what fails of ours is logged and tried again."""
        is_settled = False
        while True:
            await self.news.wait()
            self.news.clear()
            try:
                if not is_settled:
                    await self._settle()
                    is_settled = True
                while await self._tell_batch(source):
                    pass
            except Exception:  # whatever it is, the next try may go well; a task that ended would never be missed
                log.exception("telling a subscriber failed, it is tried again subscription=%s", self._subscription.id)
                await asyncio.sleep(_PAUSE)
                self.news.set()

    async def _settle(self) -> None:
        """Begin now where there is no place, or one that the catalogue has not reached: it was restored from a backup."""
        run, queue, key = self._registry.threads.run, self._eventing.queue, self._subscription.id
        cursor, last = await run(queue.cursor, key), await run(self._commits.last_position)
        if cursor is None or cursor.position > last:
            log.warning("a subscriber is told from now on, its place was lost subscription=%s", key)
            await run(queue.begin, key, last, self._registry.now())

    async def _tell_batch(self, source: str) -> bool:
        """Tell of the next commits; False when there are no more."""
        run, queue, key = self._registry.threads.run, self._eventing.queue, self._subscription.id
        cursor = await run(queue.cursor, key)
        if cursor is None:
            return False  # it is being removed
        notes = await run(self._commits.read, cursor.position, limit=_BATCH)
        if is_cut(notes, cursor):
            log.warning("the record of commits was cut; a subscriber may be told twice subscription=%s", key)
            until = await run(self._commits.last_position)
            notes = await run(self._commits.versions_since, cursor.since - _SLACK, until)
            cursor = replace(cursor, told=0) if notes else replace(cursor, position=until, told=0)
        for index, note in enumerate(notes):
            told = await run(
                read_told, self._subscription, note, self._commits, self._registry.catalog.distributions.find
            )
            for number, one in enumerate(told[cursor.told :], cursor.told + 1):
                cursor = await self._send(source, one, cursor, notes[index:])
                if cursor.position >= note.position:
                    return True  # given up, as far as the cursor says
                cursor = replace(cursor, told=number)
                await run(queue.move, key, cursor)
            is_last_of_position = index + 1 == len(notes) or notes[index + 1].position != note.position
            position = note.position if is_last_of_position else cursor.position
            cursor = replace(cursor, position=position, told=0, since=note.happened_at)
        await run(queue.move, key, cursor)
        return len(notes) == _BATCH

    async def _send(self, source: str, told: Told, cursor: Cursor, notes: Sequence[CommitNote]) -> Cursor:
        """Send one event, trying until it is taken; or, once commits are too old, return a cursor behind these."""
        body = body_of(told, self._subscription.format, source)
        if body is None:
            return cursor
        while True:
            retry_after = None
            try:
                await deliver(self._receivers, self._subscription, body)
                return replace(cursor, delivered=cursor.delivered + 1, failures=0, error="")
            except EntrepotError as error:
                retry_after = getattr(error, "retry_after", None)
                cursor = replace(cursor, failures=cursor.failures + 1, error=error.message[:500])
            log.warning(
                "a subscriber was not told subscription=%s event=%s failures=%d error=%s",
                self._subscription.id, told.id, cursor.failures, cursor.error,
            )  # fmt: skip
            given_up = self._give_up(cursor, notes)
            await self._registry.threads.run(self._eventing.queue.move, self._subscription.id, given_up or cursor)
            await asyncio.sleep(pause_after(cursor.failures, retry_after))
            if given_up is not None:
                return given_up

    def _give_up(self, cursor: Cursor, notes: Sequence[CommitNote]) -> Cursor | None:
        oldest = self._registry.now() - timedelta(hours=self._subscription.give_up_hours)
        old = [note for note in notes if note.happened_at < oldest]
        if not old or notes[0].happened_at >= oldest:
            return None
        reason = f"{len(old)} commit(s) were not told for {self._subscription.give_up_hours:g} h: {cursor.error}"
        log.error("a subscriber is given up on for old events subscription=%s: %s", self._subscription.id, reason)
        event = Event(self._registry.now(), "", "drop-events", self._subscription.id, "refused", reason=reason)
        self._registry.gate.events.note(event)
        return replace(cursor, position=old[-1].position, told=0, since=old[-1].happened_at)


class Tellings:
    """A task for each subscriber, so that one that does not answer holds up nobody else."""

    def __init__(
        self, registry: Registry, eventing: Eventing, open_receivers: Callable[[], Receivers], source: str
    ) -> None:
        self._registry, self._eventing, self._source = registry, eventing, source
        self._open_receivers = open_receivers
        self._commits: CommitLog | None = None
        self._receivers: Receivers | None = None
        self._tasks: dict[str, tuple[Telling, asyncio.Task[None]]] = {}

    async def step(self) -> None:
        """Begin and end tasks as the records say; wake them when something was committed. Else a glance, no I/O but a stat."""
        wanted = self._eventing.records.subscriptions
        for key in self._tasks.keys() - wanted.keys():
            await _end(self._tasks.pop(key)[1])
        if not wanted:
            return
        if self._commits is None or self._receivers is None:
            self._commits = await self._registry.threads.run(self._registry.catalog.commits.log)
            self._receivers = await self._registry.threads.run(self._open_receivers)
        if not self._commits.is_current():
            await self._registry.threads.run(self._commits.look)
            if not self._registry.catalog.snapshots.is_current():
                await self._registry.threads.run(self._registry.catalog.snapshots.refresh)
            for telling, _ in self._tasks.values():
                telling.news.set()
        for key in wanted.keys() - self._tasks.keys():
            telling = Telling(self._registry, self._eventing, self._commits, self._receivers, wanted[key])
            self._tasks[key] = telling, asyncio.create_task(telling.follow(self._source))

    async def close(self) -> None:
        """End the tasks and connections."""
        for _, task in self._tasks.values():
            await _end(task)
        self._tasks.clear()
        if self._receivers is not None:
            await self._receivers.close()


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def follow_commits(tellings: Tellings, *, every: float) -> None:
    """Tell subscribers, for ever."""
    while True:
        try:
            await tellings.step()
        except Exception:  # as above
            log.exception("telling subscribers failed, it is tried again")
            await asyncio.sleep(_PAUSE)
        await asyncio.sleep(every)
