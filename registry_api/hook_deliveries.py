"""Starts the flow runs that hooks' events come to: gathered until a repository is quiet, tried until Prefect takes them."""

import asyncio
import logging
import os

import httpx

from catalog.event_queue import Run
from catalog.events import Event
from catalog.hook_runs import plan_runs
from oci.errors import EntrepotError, RemoteRefused
from registry_api.eventing import Eventing
from registry_api.prefect_api import find_api_url, prefect_client, start_run
from registry_api.registry import Registry

log = logging.getLogger("registry_api")
_LONGEST_PAUSE = 60.0
_PAUSE = 5.0
"""Seconds before another try, when it is we who failed."""
_GIVE_UP = 7 * 86_400.0
"""Seconds after which a run that could not be started is dropped."""


def pause_after(attempts: int) -> float:
    """Seconds to wait after so many failed attempts."""
    return min(float(2**attempts), _LONGEST_PAUSE)


class HookDeliveries:
    """Turns what waits in the queue into flow runs; one process of an installation does."""

    def __init__(self, registry: Registry, eventing: Eventing) -> None:
        self._registry, self._eventing = registry, eventing
        self._client: httpx.AsyncClient | None = None
        self._url = ""
        self._mark: int | None = None
        self._next_at: float | None = None

    async def step(self) -> None:
        """Look whether something is due, and do it: without news in the queue that is a glance."""
        run = self._registry.threads.run
        now = self._registry.now().timestamp()
        mark = await run(self._eventing.queue.mark)
        if mark == self._mark and (self._next_at is None or now < self._next_at):
            return
        self._mark = mark
        planned_next = await run(self._plan, now)
        due, later = await run(self._eventing.queue.due, now)
        failed = await self._start(due)
        times = [one for one in (planned_next, later, failed, now if len(due) > 1 and failed is None else None) if one]
        self._next_at = min(times, default=None)

    def _plan(self, now: float) -> float | None:
        waiting = self._eventing.queue.waiting()
        if not waiting:
            return None
        plan = plan_runs(self._eventing.records.hooks, waiting, now, self._registry.make_id)
        if plan.done:
            dropped = self._eventing.queue.plan(plan.runs, plan.done)
            if dropped:
                self._note(
                    "", "drop-events", "", f"{dropped} of the oldest runs were dropped: too many wait for Prefect"
                )
        return plan.next_at

    async def _start(self, due: list[Run]) -> float | None:
        """Start runs in turn; one that Prefect refuses is dropped. Return when to try again, if that is needed."""
        soonest: float | None = None
        for one in due:
            now = self._registry.now().timestamp()
            try:
                run_id = await start_run(await self._prefect(), one)
            except RemoteRefused as error:
                self._note(one.hook, "start-run", one.deployment, error.message, refused=True)
            except EntrepotError as error:
                if now - one.created_at < _GIVE_UP:
                    until = now + pause_after(one.attempts)
                    soonest = min(soonest or until, until)
                    log.warning(
                        "a run could not be started, it is tried again hook=%s deployment=%s error=%s",
                        one.hook, one.deployment, error,
                    )  # fmt: skip
                    await self._registry.threads.run(self._eventing.queue.postpone, one, until)
                    continue
                self._note(one.hook, "start-run", one.deployment, f"given up: {error.message}", refused=True)
            else:
                self._note(one.hook, "start-run", one.deployment, "", flow_run_id=run_id)
            await self._registry.threads.run(self._eventing.queue.finish, one)
        return soonest

    async def _prefect(self) -> httpx.AsyncClient:
        settings = self._registry.catalog.settings
        url = await self._registry.threads.run(find_api_url, settings)
        if self._client is None or url != self._url:
            await self.close()
            self._client, self._url = await self._registry.threads.run(prefect_client, settings, url, os.environ), url
        return self._client

    def _note(self, hook: str, action: str, name: str, reason: str, *, refused: bool = False, **detail: object) -> None:
        if reason:
            log.error("hook=%s %s: %s", hook, action, reason)
        outcome = "refused" if refused else "done"
        event = Event(self._registry.now(), f"hook:{hook}", action, name, outcome, reason, detail=detail)  # type: ignore[arg-type]
        self._registry.gate.events.note(event)

    async def close(self) -> None:
        """End the connections to Prefect."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


async def follow_hooks(deliveries: HookDeliveries, eventing: Eventing, *, every: float) -> None:
    """Start what is due, for ever; without hooks nothing is looked at."""
    while True:
        try:
            if eventing.records.hooks:
                await deliveries.step()
        except (EntrepotError, OSError) as error:
            log.error("starting runs of hooks failed; it is tried again error=%s", error)  # noqa: TRY400
            await asyncio.sleep(_PAUSE)
        await asyncio.sleep(every)
