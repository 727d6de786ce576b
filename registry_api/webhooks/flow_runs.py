"""Starts the flow runs of hooks' events: events gather until a repository is quiet, and a start is retried until it succeeds."""

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from catalog.audit import Event
from catalog.prefect.address import PrefectAddress
from catalog.settings import Settings
from catalog.webhooks.flow_runs import plan_runs
from catalog.webhooks.queue import Run
from oci.errors import EntrepotError, RemoteRefused, RemoteUnavailable
from registry_api.context import Registry
from registry_api.webhooks.context import Webhooks

if TYPE_CHECKING:
    import httpx

log = logging.getLogger("registry_api")
_LONGEST_PAUSE = 60.0
_PAUSE = 5.0
"""Seconds before a retry after an unexpected exception."""
_GIVE_UP = 7 * 86_400.0
"""Seconds after which a run that could not be started is dropped."""


def retry_pause(attempts: int) -> float:
    """Return the seconds to wait after so many failed attempts."""
    return min(float(2 ** min(attempts, 20)), _LONGEST_PAUSE)


def _is_away(error: EntrepotError) -> bool:
    """Return whether Prefect as a whole is unreachable, or something else responds."""
    return isinstance(error, RemoteUnavailable) and error.status is None


class HookRuns:
    """Turns queued events into flow runs; runs in one process of an installation."""

    def __init__(self, registry: Registry, webhooks: Webhooks) -> None:
        self._registry, self._webhooks = registry, webhooks
        self._client: httpx.AsyncClient | None = None
        self._api: PrefectAddress | None = None
        self._mark: int | None = None
        self._next_at: float | None = None
        self._failures, self._rest_until = 0, 0.0

    async def step(self) -> None:
        """Start what is due; without changes in the queue this costs one look at it."""
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
        self._next_at = min((time for time in times if time is not None), default=None)
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
        """Start runs in turn; return when to retry the first of those that failed."""
        soonest: float | None = None
        for run in due:
            try:
                run_id = await self._start_one(run)
            except EntrepotError as error:
                until = await self._postpone(run, error)
                if until is not None and _is_away(error):
                    return until
                soonest = min(filter(None, (soonest, until)), default=None)
            else:
                self._note(run.hook, "start-run", run.deployment, "", flow_run_id=run_id)
                await self._registry.threads.run(self._webhooks.queue.finish, run)
                self._failures = 0
        return soonest

    async def _postpone(self, run: Run, error: EntrepotError) -> float | None:
        """Return when to retry; None for a run that is dropped, since Prefect refuses it or it is too old."""
        now = self._registry.now().timestamp()
        is_old = now - run.created_at > _GIVE_UP
        if isinstance(error, RemoteRefused) or is_old:
            reason = f"{'given up: ' if is_old else ''}{error}"
            self._note(run.hook, "start-run", run.deployment, reason, refused=True)
            await self._registry.threads.run(self._webhooks.queue.finish, run)
            return None
        log.warning(
            "a flow run could not be started; retrying hook=%s deployment=%s error=%s",
            run.hook,
            run.deployment,
            error,
        )
        if _is_away(error):  # then no other run can be started either
            self._failures += 1
            self._rest_until = now + retry_pause(self._failures)
            return self._rest_until
        until = now + retry_pause(run.attempts)
        await self._registry.threads.run(self._webhooks.queue.postpone, run, until)
        return until

    async def _start_one(self, run: Run) -> str:
        client = await self._prefect()
        from registry_api.webhooks.prefect_client import start_run  # loaded by the thread of `_find_api`

        return await start_run(client, run)

    async def _prefect(self) -> "httpx.AsyncClient":
        settings = self._registry.catalog.settings
        api = await self._registry.threads.run(_find_api, settings)
        if self._client is None or api != self._api:
            await self.close()
            from registry_api.webhooks.prefect_client import prefect_client  # loaded by the thread of `_find_api`

            self._client, self._api = await self._registry.threads.run(prefect_client, settings, api, os.environ), api
        return self._client

    def _note(self, hook: str, action: str, name: str, reason: str, *, refused: bool = False, **detail: object) -> None:
        if reason:
            log.error("hook=%s %s: %s", hook, action, reason)
        outcome = "refused" if refused else "done"
        event = Event(self._registry.now(), f"hook:{hook}", action, name, outcome, reason, detail=detail)  # type: ignore[arg-type]
        self._registry.access.events.note(event)

    async def close(self) -> None:
        """Close the connections to Prefect."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _find_api(settings: Settings) -> PrefectAddress:
    """Return Prefect's API; on a thread, for it loads the HTTP client, which a registry without hooks saves."""
    from registry_api.webhooks.prefect_client import find_prefect_api

    return find_prefect_api(settings)


async def follow_hooks(runs: HookRuns, webhooks: Webhooks, *, every: float) -> None:
    """Start what is due, for ever; does nothing without hooks."""
    while True:
        try:
            if webhooks.records.hooks:
                await runs.step()
        except Exception:  # whatever it is, a retry may succeed; nobody would notice a task that ended
            log.exception("starting flow runs of hooks failed; retrying")
            await asyncio.sleep(_PAUSE)
        await asyncio.sleep(every)
