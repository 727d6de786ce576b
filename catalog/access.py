"""The file of accounts, rules and keys: read again whenever it changes, written whole under a lock.

It stands beside the catalogue and not in it, since the catalogue keeps what was for ever and answers questions (ADR 0006).
"""

import json
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from argon2 import PasswordHasher
from filelock import FileLock, Timeout
from pydantic import ValidationError

from catalog.access_policy import Account, Grant, Policy, Rule
from catalog.settings import Settings
from oci.errors import CatalogUnusable, InvalidInput

ADMINISTRATOR = "admin"
_RULE = Rule(id="administrator", subjects=(f"user:{ADMINISTRATOR}",), grant=Grant(actions=("admin",), patterns=("**",)))


def password_file(settings: Settings) -> Path:
    """Where the administrator's first password stands, readable by the owner alone."""
    return settings.root / "admin-password"


def access_file(settings: Settings) -> Path:
    """Where accounts, rules and keys stand, secrets as hashes except for the keys."""
    return settings.root / "access.json"


def hash_password(password: str) -> str:
    """An argon2id hash; some 50 ms and 64 MiB."""
    return PasswordHasher().hash(password)


def make_secret() -> str:
    """A random secret, or a mark that nothing else has."""
    return secrets.token_urlsafe(18)


def ensure_administrator(
    settings: Settings,
    *,
    make_password: Callable[[], str] = make_secret,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> str | None:
    """Make the administrator at the first start; return the password then, None when there is one already."""
    settings.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = AccessStore(settings)
    with store.locked():
        if access_file(settings).exists():
            return None
        before = _read_former(settings.root / "users.json")
        password = make_password()
        hashes = before or {ADMINISTRATOR: hash_password(password)}
        made = {
            name: Account(name=name, password=text, stamp=make_secret(), created_at=now())
            for name, text in hashes.items()
        }
        if not before:
            _write_private(password_file(settings), password + "\n")
        _write_private(access_file(settings), Policy(accounts=made, rules=(_RULE,)).model_dump_json(indent=1) + "\n")
    return None if before else password


def _read_former(file: Path) -> Mapping[str, str]:
    """The hashes that a release without rules kept, so that its users can go on."""
    try:
        return {str(name): str(text) for name, text in json.loads(file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise CatalogUnusable(f"{file} is not a file of users: {error}; restore it from a backup") from None


def _write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 whole or not at all."""
    staged = path.with_name(f".{path.name}.new")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class AccessStore:
    """This process's sight of the file; usable from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._file = access_file(settings)
        self._name = str(self._file)
        self._lock = FileLock(settings.root / "access.lock", timeout=settings.lock_timeout)
        self._guard = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._policy = Policy()

    @property
    def policy(self) -> Policy:
        """What holds now; a glance at the file's date, so it may be asked on an event loop. Raise CatalogUnusable."""
        try:
            status = os.stat(self._name)  # noqa: PTH116  # on every request, and half of Path.stat's time
        except FileNotFoundError:
            with self._guard:
                self._stamp, self._policy = None, Policy()
            return self._policy
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        if stamp != self._stamp:
            with self._guard:
                self._policy, self._stamp = self._read(), stamp
        return self._policy

    def _read(self) -> Policy:
        try:
            return Policy.model_validate_json(self._file.read_bytes())
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except InvalidInput as error:
            said = error.message
        raise CatalogUnusable(f"{self._file} cannot be used: {said}; mend it or restore it from a backup")

    def locked(self) -> FileLock:
        """The lock that writers hold."""
        return self._lock

    def update(self, change: Callable[[Policy], Policy]) -> Policy:
        """Replace what holds by what `change` makes of it; durable on return. What it raises leaves all as it was."""
        try:
            with self._lock:
                made = change(self.policy)
                checked = Policy.model_validate(made.model_dump())
                _write_private(self._file, checked.model_dump_json(indent=1) + "\n")
        except Timeout:
            raise CatalogUnusable(f"another process holds {self._lock.lock_file}; try again") from None
        return checked
