"""The file of accounts, rules and keys: read again whenever it changes, written whole under a lock.

It stands beside the catalogue and not in it, since the catalogue keeps what was for ever and answers questions (ADR 0006).
"""

import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from argon2 import PasswordHasher

from catalog.access.bearer_tokens import with_key
from catalog.access.policy import Account, Grant, Policy, Rule
from catalog.access.secret_file import PrivateFile, write_private
from catalog.private_home import keep_private, make_home
from catalog.settings import Settings
from oci.errors import CatalogUnusable

ADMINISTRATOR = "admin"
_RULE = Rule(id="administrator", subjects=(f"user:{ADMINISTRATOR}",), grant=Grant(actions=("admin",), patterns=("**",)))


def password_file(settings: Settings) -> Path:
    """Return the file of the administrator's first password, readable by the owner alone."""
    return settings.root / "admin-password"


def access_file(settings: Settings) -> Path:
    """Return the file of accounts, rules and keys; it holds secrets as hashes, except for keys."""
    return settings.root / "access.json"


def hash_password(password: str) -> str:
    """Return an argon2id hash; some 50 ms and 64 MiB."""
    return PasswordHasher().hash(password)


def make_secret() -> str:
    """Return a random secret, or a mark that nothing else has."""
    return secrets.token_urlsafe(18)


def ensure_administrator(
    settings: Settings,
    *,
    make_password: Callable[[], str] = make_secret,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> str | None:
    """Make the administrator at the first start; return the password then, None when there is one already."""
    make_home(settings)
    keep_private(settings)
    store = AccessStore(settings)
    with store.locked():
        if access_file(settings).exists():
            return None
        before = _read_older_users(settings.root / "users.json")
        password = make_password()
        hashes = before or {ADMINISTRATOR: hash_password(password)}
        made = {
            name: Account(name=name, password=text, stamp=make_secret(), created_at=now())
            for name, text in hashes.items()
        }
        if not before:
            write_private(password_file(settings), password + "\n")
        policy = with_key(Policy(accounts=made, rules=(_RULE,)), now())  # no pull has to write it
        write_private(access_file(settings), policy.model_dump_json(indent=1) + "\n")
    return None if before else password


def _read_older_users(file: Path) -> Mapping[str, str]:
    """Return the password hashes of a release without rules, so that its users can go on."""
    try:
        return {str(name): str(text) for name, text in json.loads(file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise CatalogUnusable(f"{file} is not a file of users: {error}; restore it from a backup") from None


class AccessStore(PrivateFile[Policy]):
    """This process's sight of the file; usable from any thread."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(access_file(settings), Policy(), lock_timeout=settings.lock_timeout)

    @property
    def policy(self) -> Policy:
        """Return the policy in force; it only looks at the file's date, so use it on an event loop. Raises CatalogUnusable."""
        return self.value
