"""What upstreams allow, shared by all processes of one home: a small file for each upstream, changed under a lock of its own."""

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from oci.errors import RemoteRateLimited
from oci.reference import DOCKER_HUB
from oci.remote.limits.budget import Budget, after_response, after_sent, is_counted, plan_wait, read_rate_limit
from oci.remote.limits.rate import Rate

_BYTES = 4096
SHORT = 5.0
"""Seconds that a client is kept waiting for an upstream that asked for it; beyond, it is told to come back."""


class BudgetFile:
    """One upstream's budget; usable from any thread and by several processes. What cannot be read is as if nothing were known."""

    def __init__(self, root: Path, key: str) -> None:
        self.path = root / "upstreams" / f"{quote(key, safe='')}.json"
        self._seen: tuple[int, int] = (0, 0)
        self._budget = Budget()

    def read(self) -> Budget:
        """Return what is known now; a `stat` where nothing has changed."""
        try:
            found = self.path.stat()
        except OSError:
            return Budget()
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._seen:
            with suppress(OSError):
                self._budget, self._seen = _parse(self.path.read_bytes()), stamp
        return self._budget

    def change(self, change: Callable[[Budget], Budget]) -> Budget:
        """Change it under the lock, which is held for a moment; one write of one block, so that a kill leaves no half."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            old = _parse(os.pread(descriptor, _BYTES, 0))
            new = change(old)
            if new != old:
                os.pwrite(descriptor, json.dumps(asdict(new)).encode().ljust(_BYTES), 0)
            return new
        finally:
            os.close(descriptor)


def _parse(raw: bytes) -> Budget:
    try:
        fields = json.loads(raw)
        return Budget(**{**fields, "sent": tuple((int(slot), int(count)) for slot, count in fields["sent"])})
    except (ValueError, TypeError, KeyError):
        return Budget()


class SharedBudget:
    """Lets requests to one upstream through as its budget allows. `waited` are the seconds in which any was held."""

    def __init__(
        self,
        file: BudgetFile,
        host: str,
        *,
        interactive: bool,
        rate: Rate | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._file, self._host, self._interactive, self._rate = file, host, interactive, rate
        self._clock, self._sleep = clock, sleep
        self.waited, self._since, self._held = 0.0, 0.0, 0

    async def admit(self, method: str, path: str, patience: float) -> None:
        """Wait until the request may be sent; raise RemoteRateLimited where that is longer than `patience`, or a client waits."""
        counted = is_counted(self._host, method, path)
        while True:
            wait = await self._try(counted=counted)
            if wait <= 0:
                return
            if wait > (min(patience, SHORT) if self._interactive else patience):
                raise RemoteRateLimited(
                    f"allows no more requests for {wait:.0f} s; `entrepot remote show` tells its limit",
                    registry=self._host,
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
        known = self._file.read()
        if not counted or (known == Budget() and self._rate is None):
            return self._wait(known, counted=counted)
        return await asyncio.to_thread(self._count)

    def _count(self) -> float:
        waits: list[float] = []

        def change(budget: Budget) -> Budget:
            waits.append(self._wait(budget, counted=True))
            return budget if waits[0] > 0 else after_sent(budget, now=self._clock(), rate=self._rate)

        self._file.change(change)
        return waits[0]

    def _wait(self, budget: Budget, *, counted: bool) -> float:
        return plan_wait(budget, now=self._clock(), counted=counted, interactive=self._interactive, rate=self._rate)

    async def learn(
        self, method: str, path: str, status: int, headers: Mapping[str, str], retry_after: float | None
    ) -> None:
        """Learn from a response."""
        now = self._clock()
        limits = read_rate_limit(headers, now)
        is_refusal = status == 429 or (status == 503 and retry_after is not None)
        if limits is None and not is_refusal and self._file.read() == Budget():
            return

        def change(budget: Budget) -> Budget:
            return after_response(
                budget,
                now=now,
                status=status,
                counted=is_counted(self._host, method, path),
                limits=limits,
                retry_after=retry_after,
                everywhere=self._host != DOCKER_HUB,
            )

        await asyncio.to_thread(self._file.change, change)
