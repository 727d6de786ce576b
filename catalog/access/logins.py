"""Logins by name and secret: a user's password, or a token in its place."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable
from datetime import datetime

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from catalog.access.policy import Account, Caller, Policy, Token
from catalog.access.store import AccessStore

TOKEN_PREFIX = "ent_"  # noqa: S105  # not a secret, but how one is known
"""By this a secret is known for a token, to us and to programs that look for leaked secrets."""

_REMEMBERED = 1024


def hash_secret(secret: str) -> str:
    """Return the stored hash of a token's secret; a plain one is enough, for the secret is long and random."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Login:
    """A login that was right: who it is, and by which token, if by one."""

    __slots__ = ("account", "token")

    def __init__(self, account: Account, token: Token | None = None) -> None:
        self.account, self.token = account, token

    @property
    def caller(self) -> Caller:
        """Return the caller, and what the login is good for."""
        grants = self.token.grants if self.token is not None else ()
        return Caller(self.account.name, grants or None, grants or None)


class Logins:
    """Checks names and secrets; a password once verified is known again by its keyed hash, which takes microseconds."""

    def __init__(self, access: AccessStore, now: Callable[[], datetime]) -> None:
        self._access, self._now = access, now
        self._key = secrets.token_bytes(32)
        self._guard = threading.Lock()
        self._verified: set[bytes] = set()

    def find(self, username: str, secret: str) -> Login | None:
        """Return the login if no slow hash is needed: by a token, or a password that was verified before."""
        policy = self._access.policy
        account = _usable(policy, username)
        if account is None:
            return None
        if secret.startswith(TOKEN_PREFIX):
            token = self._find_token(policy, account, secret)
            return Login(account, token) if token else None
        return Login(account) if self._mark(account, secret) in self._verified else None

    def needs_hash(self, secret: str) -> bool:
        """Return whether verifying a secret that `find` does not know needs a slow hash; tokens do not."""
        return not secret.startswith(TOKEN_PREFIX)

    def _find_token(self, policy: Policy, account: Account, secret: str) -> Token | None:
        hashed = hash_secret(secret)
        token = policy.tokens.get(secret.removeprefix(TOKEN_PREFIX).partition("_")[0])
        if token is None or token.owner != account.name or token.is_expired(self._now()):
            return None
        return token if hmac.compare_digest(token.secret, hashed) else None

    def verify(self, username: str, password: str) -> Login | None:
        """Return the login by a password, None for a wrong one; some 50 ms the first time, so call it on a thread."""
        if found := self.find(username, password):
            return found
        account = _usable(self._access.policy, username)
        hashed = account.password if account is not None else ""
        try:
            PasswordHasher().verify(hashed or _NOBODYS, password)
        except (VerificationError, InvalidHashError):
            return None
        if account is None or not hashed:
            return None
        with self._guard:
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified.add(self._mark(account, password))
        return Login(account)

    def _mark(self, account: Account, password: str) -> bytes:
        text = json.dumps([account.name, password, account.password]).encode()
        return hmac.new(self._key, text, hashlib.sha256).digest()


def _usable(policy: Policy, name: str) -> Account | None:
    account = policy.accounts.get(name)
    return None if account is None or account.disabled else account


def _hash_of_no_password() -> str:
    """Return what looks like a stored hash, and costs as much to verify, but is that of no password."""
    cost, salt, digest = PasswordHasher(), secrets.token_bytes(16), secrets.token_bytes(32)
    parts = [base64.b64encode(part).decode().rstrip("=") for part in (salt, digest)]
    settings = f"m={cost.memory_cost},t={cost.time_cost},p={cost.parallelism}"
    return "$".join(["", "argon2id", "v=19", settings, *parts])


_NOBODYS = _hash_of_no_password()
"""Verified for unknown users, so that an answer takes as long as for known ones. Making a real one would take 64 MiB."""
