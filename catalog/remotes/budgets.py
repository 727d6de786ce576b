"""What upstreams allow: requests wait for it, those of all processes together (`budget_stores`)."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from catalog.remotes.budget_stores import BudgetStore
from oci.errors import RemoteRateLimited
from oci.reference import DOCKER_HUB
from oci.remote.limits.budget import Budget, after_response, after_sent, is_counted, plan_wait, read_rate_limit
from oci.remote.limits.rate import Rate

SHORT = 5.0
"""Seconds that a client is kept waiting for an upstream that asked for it; beyond, it is told to come back."""


class SharedBudget:
    """Lets requests to one upstream through as its budget allows. `waited` are the seconds in which any was held."""

    def __init__(
        self,
        store: BudgetStore,
        host: str,
        *,
        interactive: bool,
        rate: Rate | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.host = host
        self._store, self._interactive, self._rate = store, interactive, rate
        self._clock, self._sleep = clock, sleep
        self.waited, self._since, self._held = 0.0, 0.0, 0
        self.responses: Counter[int] = Counter()
        """Responses of the upstream, by status."""

    async def admit(self, method: str, path: str, patience: float) -> None:
        """Wait until the request may be sent; raise RemoteRateLimited where that is longer than `patience`, or a client waits."""
        counted = is_counted(self.host, method, path)
        while True:
            wait = await self._try(counted=counted)
            if wait <= 0:
                return
            if wait > (min(patience, SHORT) if self._interactive else patience):
                raise RemoteRateLimited(
                    f"allows no more requests for {wait:.0f} s; `entrepot remote show` tells its limit",
                    registry=self.host,
                    status=429,
                    retry_after=wait,
                )
            patience -= wait
            await self._hold(wait)

    async def _hold(self, seconds: float) -> None:
        """Wait; time that several requests wait counts once."""
        if not self._held:
            self._since = self._clock()
        self._held += 1
        try:
            await self._sleep(seconds)
        finally:
            self._held -= 1
            if not self._held:
                self.waited += self._clock() - self._since

    async def _try(self, *, counted: bool) -> float:
        """Count the request, unless it must wait; return for how long."""
        known = await self._known()
        if not counted or (known == Budget() and self._rate is None):
            return self._wait(known, counted=counted)
        return await asyncio.to_thread(self._count)

    def remaining(self) -> int | None:
        """Return how many requests the upstream still allows, as it last said; None where it announces no limit."""
        known = self._store.read()
        return known.remaining if known.limit else None

    async def _known(self) -> Budget:
        known = self._store.known()
        return known if known is not None else await asyncio.to_thread(self._store.read)

    def _count(self) -> float:
        waits: list[float] = []

        def change(budget: Budget) -> Budget:
            waits.append(self._wait(budget, counted=True))
            return budget if waits[0] > 0 else after_sent(budget, now=self._clock(), rate=self._rate)

        self._store.change(change)
        return waits[0]

    def _wait(self, budget: Budget, *, counted: bool) -> float:
        return plan_wait(budget, now=self._clock(), counted=counted, interactive=self._interactive, rate=self._rate)

    async def learn(
        self, method: str, path: str, status: int, headers: Mapping[str, str], retry_after: float | None
    ) -> None:
        """Learn from a response."""
        self.responses[status] += 1
        now = self._clock()
        limits = read_rate_limit(headers, now)
        is_refusal = status == 429 or (status == 503 and retry_after is not None)
        if limits is None and not is_refusal and await self._known() == Budget():
            return

        def change(budget: Budget) -> Budget:
            return after_response(
                budget,
                now=now,
                status=status,
                counted=is_counted(self.host, method, path),
                limits=limits,
                retry_after=retry_after,
                everywhere=self.host != DOCKER_HUB,
            )

        await asyncio.to_thread(self._store.change, change)
