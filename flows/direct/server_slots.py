"""Slots that a Prefect server counts, asked for by plain requests; a lease gives them back where this process is killed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx

from flows.direct.api_client import ApiClient, RequestRefused
from flows.engine.current import run_logger
from flows.engine.slots import ASK_AGAIN, DEFAULT_LIMIT, LEASE, SlotTimeout, tell_holders
from oci.errors import LocalError

_LIMITS = "/v2/concurrency_limits"
_RENEW_AFTER = 0.75 * LEASE
_TAKEN, _GONE, _ALREADY_THERE = 423, frozenset({404, 410}), 409
_LONGEST_WAIT = 30.0
_GIVE_BACK_WITHIN = 5.0


class ServerSlots:
    """Limits of a Prefect server for one flow run."""

    def __init__(self, client: ApiClient, flow_run_id: str) -> None:
        self._client, self._run = client, flow_run_id

    @asynccontextmanager
    async def hold(self, limit: str, patience: float) -> AsyncIterator[None]:
        """Hold one slot while the context is open; raise SlotTimeout, PrefectLost."""
        lease = _Lease(await self._wait(limit, patience))
        renewing = asyncio.create_task(self._renew(limit, lease))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self._give_back(lease)

    async def describe(self, limit: str, registry: str) -> str:
        """Return who holds the slots; raise LookupError."""
        try:
            return await tell_holders(self._client.ask, limit, registry, own=self._run)
        except (httpx.HTTPError, LocalError) as error:
            raise LookupError(str(error)) from None

    async def _wait(self, limit: str, patience: float) -> str:
        """Ask until a slot is free; return the lease."""
        until, away_since = time.monotonic() + patience, 0.0
        while True:
            pause = ASK_AGAIN
            try:
                return await self._ask(limit)
            except _Taken as taken:
                away_since, pause = 0.0, taken.seconds
            except RequestRefused as error:  # a limit of none, which an operator may raise
                away_since = 0.0
                run_logger().warning("%s; it is asked again", error.message)
            except httpx.HTTPError as error:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > self._client.patience:
                    raise self._client.lost(error) from None
                run_logger().warning("Prefect gives no slot (%s); it is asked again", error or type(error).__name__)
            left = until - time.monotonic()
            if left <= 0:
                raise SlotTimeout
            await asyncio.sleep(min(pause, left))

    async def _ask(self, limit: str) -> str:
        """Ask once, and make the limit where there is none; raise _Taken, RequestRefused, httpx.HTTPError."""
        holder = {"type": "flow_run", "id": self._run}
        body = {"names": [limit], "slots": 1, "mode": "concurrency", "lease_duration": LEASE, "holder": holder}
        for _ in range(2):
            try:
                given = await self._client.ask("POST", f"{_LIMITS}/increment-with-lease", body)
            except RequestRefused as error:
                if error.status == _TAKEN:
                    raise _Taken(error.retry_after or ASK_AGAIN) from None
                raise
            if given["limits"]:
                return str(given["lease_id"])
            await self._make(limit)
        raise httpx.DecodingError(f"there is no limit {limit}, though it was made")

    async def _make(self, limit: str) -> None:
        try:
            await self._client.ask("POST", f"{_LIMITS}/", {"name": limit, "limit": DEFAULT_LIMIT})
        except RequestRefused as error:
            if error.status != _ALREADY_THERE:  # else another run has just made it
                raise

    async def _renew(self, limit: str, lease: "_Lease") -> None:
        """Keep the lease for as long as it is held; take another slot where the server has given this one away."""
        pause = _RENEW_AFTER
        while True:
            await asyncio.sleep(pause)
            try:
                body = {"lease_duration": LEASE}
                await self._client.ask("POST", f"{_LIMITS}/leases/{lease.id}/renew", body)
                pause = _RENEW_AFTER
            except RequestRefused as error:
                pause = ASK_AGAIN
                if error.status in _GONE:
                    run_logger().warning("the slot of %s was given away; another is asked for", limit)
                    with suppress(_Taken, RequestRefused, httpx.HTTPError):
                        lease.id, pause = await self._ask(limit), _RENEW_AFTER
            except httpx.HTTPError as error:
                pause = ASK_AGAIN
                run_logger().warning("the slot of %s could not be kept: %s", limit, error or type(error).__name__)

    async def _give_back(self, lease: "_Lease") -> None:
        """Give the slot back; else its lease ends soon."""
        with suppress(httpx.HTTPError, LocalError, TimeoutError):
            async with asyncio.timeout(_GIVE_BACK_WITHIN):
                await self._client.ask("POST", f"{_LIMITS}/decrement-with-lease", {"lease_id": lease.id})


class _Lease:
    """The lease of a slot, which changes where the server has given the slot away."""

    def __init__(self, lease_id: str) -> None:
        self.id = lease_id


class _Taken(Exception):  # no error: it says how long to wait
    """All slots are taken; the server says when to ask again."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = min(max(seconds, 0.2), _LONGEST_WAIT)
