"""Checks of passwords whose cost one client cannot impose on others: budgets first, then turns, then the hash.

1. What was wrong a moment ago is wrong without a hash, and the same login asked for by many at once is hashed once.
2. Each try is paid for from the budgets of (address, account), of the address and of the account; a right one is paid back.
   Who has logged in to an account from an address before pays from the first of these alone, so that floods of others do not shut
   them out.
3. Those that wait take turns by (address, account): a flood of wrong logins waits for itself.
4. Where several machines share their state, a try whose turn it is is paid for once more, from budgets of all machines. The
   budgets of this process come first, so a flood costs the database no more than it costs hashes.
"""

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from catalog.access.login_attempts import LoginAttempts, Price
from catalog.access.logins import Login, Logins
from catalog.access.policy import Policy
from oci.errors import TooManyRequests
from registry_api.auth.rate_limits import BucketSize, TokenBuckets
from registry_api.bounded_cache import BoundedCache
from registry_api.http.fair_queue import FairQueue
from registry_api.http.threads import Threads

PAIR, ADDRESS, ACCOUNT = BucketSize(20, 1.0), BucketSize(100, 2.0), BucketSize(100, 2.0)
"""Wrong attempts at once and per second: of one account from one address, from one address, of one account."""

HASHES_AT_ONCE = 2
"""Hashes computed at a time: each takes a core and 64 MiB."""

_WAITING = 8
"""Attempts of one account from one address that may wait."""

_WRONG_FOR = 60.0
"""Seconds for which a wrong login is remembered."""

_REMEMBERED = 10_000


class _Wrong(NamedTuple):
    policy: Policy
    until: float


def address_key(address: str) -> str:
    """Return the key of an address: of IPv6 its /64 network, which belongs to one customer. Pure."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address


class _TooManyEverywhere(Exception):  # clients are told something else
    """The budgets of all machines are exhausted for `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__()
        self.wait = wait


class LoginChecks:
    """Checks names and passwords of one process's clients, on its event loop."""

    def __init__(
        self,
        logins: Logins,
        threads: Threads,
        attempts: LoginAttempts | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logins, self._threads, self._attempts, self._clock = logins, threads, attempts, clock
        self._queue = FairQueue(HASHES_AT_ONCE, waiting=_WAITING, in_all=512)
        self._pairs, self._addresses, self._accounts = (
            TokenBuckets(budget.each_second, burst=budget.at_once, reason="too many wrong logins", clock=clock)
            for budget in (PAIR, ADDRESS, ACCOUNT)
        )
        self._known: BoundedCache[tuple[str, str], None] = BoundedCache(_REMEMBERED)
        self._wrong: BoundedCache[bytes, _Wrong] = BoundedCache(_REMEMBERED)
        self._running: dict[bytes, asyncio.Future[Login | None]] = {}
        self._key = secrets.token_bytes(32)

    async def verify(self, policy: Policy, username: str, secret: str, address: str) -> Login | None:
        """Return the login, None for a wrong one; raise TooManyRequests before a hash is computed."""
        login = self._logins.find(username, secret)
        if login is not None or not self._logins.needs_hash(secret):
            return login
        pair = (address_key(address), username if username in policy.accounts else "")
        text = json.dumps([*pair, username, secret]).encode()
        mark = hashlib.blake2b(text, key=self._key, digest_size=16).digest()
        wrong = self._wrong.get(mark)
        if wrong is not None and wrong.policy is policy and self._clock() < wrong.until:
            return None
        running = self._running.get(mark)
        if running is None:
            running = asyncio.ensure_future(self._check(policy, pair, mark, username, secret))
            self._running[mark] = running
            running.add_done_callback(lambda _: self._running.pop(mark, None))
        return await asyncio.shield(running)

    async def _check(
        self, policy: Policy, pair: tuple[str, str], mark: bytes, username: str, secret: str
    ) -> Login | None:
        paid = self._pay(pair)
        try:
            async with self._queue.turn(pair, first=pair in self._known):
                login = await self._threads.check(self._verify, pair, username, secret)
        except _TooManyEverywhere as error:  # paid for, so that the next tries are refused here
            raise TooManyRequests("too many wrong logins; try again in a moment", retry_after=error.wait) from None
        except BaseException:  # it was not tried
            self._pay_back(paid)
            raise
        if login is None:
            self._wrong.put(mark, _Wrong(policy, self._clock() + _WRONG_FOR))
        else:
            self._pay_back(paid)
            self._known.put(pair, None)
        return login

    def _verify(self, pair: tuple[str, str], username: str, secret: str) -> Login | None:
        """Return the login, None for a wrong one; raise _TooManyEverywhere before a hash is computed."""
        if self._attempts is None:
            return self._logins.verify(username, secret)
        address, account = pair
        price = Price(f"pair {address} {account}", *PAIR)
        others = Price(f"address {address}", *ADDRESS), Price(f"account {account}", *ACCOUNT)
        payment = self._attempts.pay(price, others)
        if payment.wait > 0:
            raise _TooManyEverywhere(payment.wait)
        login = self._logins.verify(username, secret)
        if login is not None:
            self._attempts.succeed(price, payment)
        return login

    def _pay(self, pair: tuple[str, str]) -> list[tuple[TokenBuckets, str]]:
        """Spend one attempt of the budgets; raise TooManyRequests, having spent nothing, when one is exhausted."""
        address, account = pair
        prices = [(self._pairs, f"{address} {account}")]
        if pair not in self._known:
            prices += [(self._addresses, address), (self._accounts, account)]
        paid: list[tuple[TokenBuckets, str]] = []
        try:
            for budget, key in prices:
                budget.spend(key)
                paid.append((budget, key))
        except TooManyRequests:
            self._pay_back(paid)
            raise
        return paid

    def _pay_back(self, paid: list[tuple[TokenBuckets, str]]) -> None:
        for budget, key in paid:
            budget.give_back(key)
