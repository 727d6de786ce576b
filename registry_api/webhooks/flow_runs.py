"""Starts the flow runs that hooks' events come to: gathered until a repository is quiet, tried until Prefect takes them."""

import asyncio
import logging
import os

import httpx

from catalog.audit import Event
from catalog.prefect_address import PrefectAddress
from catalog.webhooks.flow_runs import plan_runs
from catalog.webhooks.queue import Run
from oci.errors import EntrepotError, RemoteRefused, RemoteUnavailable
from registry_api.context import Registry
from registry_api.webhooks.context import Webhooks
from registry_api.webhooks.prefect_client import find_api, prefect_client, start_run

log = logging.getLogger("registry_api")
_LONGEST_PAUSE = 60.0
_PAUSE = 5.0
"""Seconds before another try, when it is we who failed."""
_GIVE_UP = 7 * 86_400.0
"""Seconds after which a run that could not be started is dropped."""


def pause_after(attempts: int) -> float:
    """Seconds to wait after so many failed attempts."""
    return min(float(2 ** min(attempts, 20)), _LONGEST_PAUSE)


def _is_away(error: EntrepotError) -> bool:
    """Whether Prefect as a whole did not answer, or not as Prefect does."""
    return isinstance(error, RemoteUnavailable) and error.status is None


class HookDeliveries:
    """Turns what waits in the queue into flow runs; one process of an installation does."""

    def __init__(self, registry: Registry, webhooks: Webhooks) -> None:
        self._registry, self._webhooks = registry, webhooks
        self._client: httpx.AsyncClient | None = None
        self._api: PrefectAddress | None = None
        self._mark: int | None = None
        self._next_at: float | None = None
        self._failures, self._rest_until = 0, 0.0

    async def step(self) -> None:
        """Look whether something is due, and do it: without news in the queue that is a glance."""
        run = self._registry.threads.run
        now = self._registry.now().timestamp()
        mark = await run(self._webhooks.queue.mark)
        if mark == self._mark and (self._next_at is None or now < self._next_at):
            return
        times = [await run(self._plan, now)]
        if now >= self._rest_until:
            due, later = await run(self._webhooks.queue.due, now)
            times += [await self._start(due), later]
        else:
            times.append(self._rest_until)
        self._next_at = min((one for one in times if one is not None), default=None)
        self._mark = mark

    def _plan(self, now: float) -> float | None:
        waiting = self._webhooks.queue.waiting()
        if not waiting:
            return None
        plan = plan_runs(self._webhooks.records.hooks, waiting, now, self._registry.make_id)
        if plan.done:
            dropped = self._webhooks.queue.plan(plan.runs, plan.done)
            if dropped:
                self._note(
                    "", "drop-events", "", f"{dropped} of the oldest runs were dropped: too many wait for Prefect"
                )
        return plan.next_at

    async def _start(self, due: list[Run]) -> float | None:
        """Start runs in turn; return when to try the first of those again that could not be started."""
        soonest: float | None = None
        for one in due:
            try:
                run_id = await start_run(await self._prefect(), one)
            except EntrepotError as error:
                until = await self._put_off(one, error)
                if until is not None and _is_away(error):
                    return until
                soonest = min(filter(None, (soonest, until)), default=None)
            else:
                self._note(one.hook, "start-run", one.deployment, "", flow_run_id=run_id)
                await self._registry.threads.run(self._webhooks.queue.finish, one)
                self._failures = 0
        return soonest

    async def _put_off(self, run: Run, error: EntrepotError) -> float | None:
        """Return when to try again; None for a run that is dropped, since Prefect refuses it or it is too old."""
        now = self._registry.now().timestamp()
        is_old = now - run.created_at > _GIVE_UP
        if isinstance(error, RemoteRefused) or is_old:
            reason = f"{'given up: ' if is_old else ''}{error}"
            self._note(run.hook, "start-run", run.deployment, reason, refused=True)
            await self._registry.threads.run(self._webhooks.queue.finish, run)
            return None
        log.warning(
            "a run could not be started, it is tried again hook=%s deployment=%s error=%s",
            run.hook,
            run.deployment,
            error,
        )
        if _is_away(error):  # then nobody else's run can be started either
            self._failures += 1
            self._rest_until = now + pause_after(self._failures)
            return self._rest_until
        until = now + pause_after(run.attempts)
        await self._registry.threads.run(self._webhooks.queue.postpone, run, until)
        return until

    async def _prefect(self) -> httpx.AsyncClient:
        settings = self._registry.catalog.settings
        api = await self._registry.threads.run(find_api, settings)
        if self._client is None or api != self._api:
            await self.close()
            self._client, self._api = await self._registry.threads.run(prefect_client, settings, api, os.environ), api
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


async def follow_hooks(deliveries: HookDeliveries, webhooks: Webhooks, *, every: float) -> None:
    """Start what is due, for ever; without hooks nothing is looked at."""
    while True:
        try:
            if webhooks.records.hooks:
                await deliveries.step()
        except Exception:  # whatever it is, the next try may go well; nobody would miss a task that ended
            log.exception("starting runs of hooks failed, it is tried again")
            await asyncio.sleep(_PAUSE)
        await asyncio.sleep(every)
