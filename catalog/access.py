"""Who may write: the users of this installation, their passwords kept as argon2 hashes."""

import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from filelock import FileLock

from catalog.settings import Settings
from oci.errors import CatalogUnusable

ADMINISTRATOR = "admin"
_REMEMBERED = 1024


def password_file(settings: Settings) -> Path:
    """Where the administrator's first password stands, readable by the owner alone."""
    return settings.root / "admin-password"


def users_file(settings: Settings) -> Path:
    """Where the users' hashes stand."""
    return settings.root / "users.json"


def ensure_administrator(
    settings: Settings, *, make_password: Callable[[], str] = lambda: secrets.token_urlsafe(18)
) -> str | None:
    """Make the administrator at the first start; return the password then, None when there is one already."""
    settings.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(settings.root / "users.lock"):
        if users_file(settings).exists():
            return None
        password = make_password()
        _write_private(password_file(settings), password + "\n")
        _write_private(users_file(settings), json.dumps({ADMINISTRATOR: PasswordHasher().hash(password)}) + "\n")
    return password


def _write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 whole or not at all."""
    staged = path.with_name(f".{path.name}.new")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.rename(path)


class Users:
    """Checks passwords; the file is read again when it changes, and a password once verified is known by its keyed hash."""

    def __init__(self, settings: Settings) -> None:
        self._file = users_file(settings)
        self._key = secrets.token_bytes(32)
        self._guard = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}
        self._verified: set[bytes] = set()

    def is_known(self, username: str, password: str) -> bool:
        """Whether this pair was verified before against the file as it is; microseconds, so it may run on an event loop."""
        self._read()
        return self._mark(username, password) in self._verified

    def verify(self, username: str, password: str) -> bool:
        """Whether the password is the user's; some 50 ms of computing the first time, so call it on a thread."""
        if self.is_known(username, password):
            return True
        hashed = self._hashes.get(username)
        try:
            PasswordHasher().verify(hashed or _NOBODY, password)
        except (VerificationError, InvalidHashError):
            return False
        if hashed is None:
            return False
        with self._guard:
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified.add(self._mark(username, password))
        return True

    def _mark(self, username: str, password: str) -> bytes:
        pair = json.dumps([username, password, self._hashes.get(username)]).encode()
        return hmac.new(self._key, pair, hashlib.sha256).digest()

    def _read(self) -> None:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            with self._guard:
                self._stamp, self._hashes = None, {}
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._stamp:
            return
        with self._guard:
            try:
                self._hashes = {str(name): str(hashed) for name, hashed in json.loads(self._file.read_text()).items()}
            except (ValueError, AttributeError) as error:
                raise CatalogUnusable(
                    f"{self._file} is not a file of users: {error}; restore it from a backup"
                ) from None
            self._stamp = stamp


_NOBODY = PasswordHasher().hash(secrets.token_urlsafe(18))
"""Verified for unknown users, so that an answer takes as long as for known ones."""
