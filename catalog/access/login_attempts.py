"""Budgets of wrong logins that all machines share, and who has logged in from where; keys are hashed, so rows name nobody.

The server's clock counts. Nothing of it need outlive a crash of the server, so no write waits for the disk.
"""

import hashlib
import time
from collections.abc import Sequence
from typing import NamedTuple

from catalog.database.engine import Transaction
from catalog.state.shared_state import SharedState

_KNOWN_FOR = 30 * 86_400.0
"""Seconds after which who has not logged in from an address is not known there any more."""
_CLEAN_EVERY = 60.0
"""Seconds between two deletions of old rows by one process."""


class Price(NamedTuple):
    """One attempt of a budget: `at_once` attempts, and `each_second` more."""

    key: str
    at_once: float
    each_second: float


class Payment(NamedTuple):
    """What was paid; with `wait`, in seconds, nothing was."""

    prices: Sequence[Price]
    wait: float = 0.0


class LoginAttempts:
    """Each method is a transaction, so use it on a thread. Raises CatalogUnavailable."""

    def __init__(self, state: SharedState) -> None:
        self._database = state.database
        self._cleaned = time.monotonic()

    def pay(self, pair: Price, others: Sequence[Price]) -> Payment:
        """Pay one attempt from each budget, or from that of the pair alone when it is known; all or nothing."""
        with self._database.transaction(_locks([pair, *others])) as connection:
            now = _begin(connection)
            self._clean(connection, now)
            is_known = connection.execute(
                "SELECT 1 FROM known_logins WHERE key = ? AND at > ?", (_hashed(pair.key), now - _KNOWN_FOR)
            ).fetchone()
            prices = [pair] if is_known else [pair, *others]
            left = [_left(connection, price, now) for price in prices]
            wait = max((1.0 - tokens) / price.each_second for price, tokens in zip(prices, left, strict=True))
            if wait > 0:
                return Payment((), wait)
            for price, tokens in zip(prices, left, strict=True):
                _keep(connection, price, tokens - 1.0, now)
        return Payment(prices)

    def succeed(self, pair: Price, payment: Payment) -> None:
        """Pay back what was paid for the right login of a pair, and know the pair from now on."""
        with self._database.transaction(_locks(payment.prices)) as connection:
            now = _begin(connection)
            for price in payment.prices:
                _keep(connection, price, min(price.at_once, _left(connection, price, now) + 1.0), now)
            connection.execute(
                "INSERT INTO known_logins VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET at = excluded.at",
                (_hashed(pair.key), now),
            )

    def _clean(self, connection: Transaction, now: float) -> None:
        """Delete rows of budgets that are full again, and of pairs that are not known any more."""
        if time.monotonic() - self._cleaned >= _CLEAN_EVERY:
            self._cleaned = time.monotonic()
            connection.execute("DELETE FROM login_attempts WHERE full_at < ?", (now,))
            connection.execute("DELETE FROM known_logins WHERE at < ?", (now - _KNOWN_FOR,))


def _begin(connection: Transaction) -> float:
    """Return the server's time."""
    connection.execute("SET LOCAL synchronous_commit = off")
    return float(connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()[0])


def _left(connection: Transaction, price: Price, now: float) -> float:
    row = connection.execute("SELECT tokens, at FROM login_attempts WHERE key = ?", (_hashed(price.key),)).fetchone()
    tokens, since = row or (price.at_once, now)
    return float(min(price.at_once, tokens + max(0.0, now - since) * price.each_second))


def _keep(connection: Transaction, price: Price, tokens: float, now: float) -> None:
    connection.execute(
        "INSERT INTO login_attempts VALUES (?, ?, ?, ?) ON CONFLICT (key) "
        "DO UPDATE SET tokens = excluded.tokens, at = excluded.at, full_at = excluded.full_at",
        (_hashed(price.key), tokens, now, now + (price.at_once - tokens) / price.each_second),
    )


def _locks(prices: Sequence[Price]) -> list[str]:
    return [f"login {_hashed(price.key)}" for price in prices]


def _hashed(key: str) -> str:
    return hashlib.blake2b(key.encode(), digest_size=16, person=b"entrepot-login").hexdigest()
