"""The document of accounts, rules and keys: a file of mode 0600, or a row that all machines share.

It stands beside the catalogue and not in it, since the catalogue keeps what was for ever and answers questions (ADR 0006).
"""

import json
import secrets
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from catalog.access.bearer_tokens import with_key
from catalog.access.policy import Account, Grant, Policy, Rule
from catalog.private_home import keep_private, make_home
from catalog.settings import Settings
from catalog.state.documents import open_document
from catalog.state.private_file import write_private
from catalog.state.shared_state import SharedState, open_state
from oci.errors import CatalogUnusable

ADMINISTRATOR = "admin"
_RULE = Rule(id="administrator", subjects=(f"user:{ADMINISTRATOR}",), grant=Grant(actions=("admin",), patterns=("**",)))


def password_file(settings: Settings) -> Path:
    """Return the file of the administrator's first password, readable by the owner alone."""
    return settings.root / "admin-password"


def access_file(settings: Settings) -> Path:
    """Return the file of accounts, rules and keys; it holds secrets as hashes, except for keys."""
    return settings.root / "access.json"


def administrators_policy() -> Policy:
    """Return what a first start makes, as far as one sees it: the administrator without a password, and the rule."""
    made = Account(name=ADMINISTRATOR, created_at=datetime.fromtimestamp(0, UTC))
    return Policy(accounts={ADMINISTRATOR: made}, rules=(_RULE,))


def hash_password(password: str) -> str:
    """Return an argon2id hash; some 50 ms and 64 MiB."""
    return PasswordHasher().hash(password)


def is_password_of(account: Account, password: str) -> bool:
    """Return whether an account has this password, disabled or not; some 50 ms."""
    try:
        return PasswordHasher().verify(account.password, password)
    except (VerificationError, InvalidHashError):
        return False


def make_secret() -> str:
    """Return a random secret, or a mark that nothing else has."""
    return secrets.token_urlsafe(18)


def ensure_administrator(
    settings: Settings,
    state: SharedState | None = None,
    *,
    make_password: Callable[[], str] = make_secret,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> str | None:
    """Make the administrator at the first start; return the password then, None when there is one already.

    Of several machines that start at once, one makes it: its home has the file of the password.
    """
    make_home(settings)
    keep_private(settings)
    shown: list[str] = []

    def make() -> Policy:
        before = _read_older_users(settings.root / "users.json")
        if not before:
            shown.append(make_password())
            write_private(password_file(settings), shown[0] + "\n")
        hashes = before or {ADMINISTRATOR: hash_password(shown[0])}
        made = {
            name: Account(name=name, password=text, stamp=make_secret(), created_at=now())
            for name, text in hashes.items()
        }
        return with_key(Policy(accounts=made, rules=(_RULE,)), now())  # no pull has to write the key

    with _opened(settings, state) as opened:
        is_made = AccessStore(settings, opened).create(make)
    return shown[0] if is_made and shown else None


@contextmanager
def _opened(settings: Settings, state: SharedState | None) -> Iterator[SharedState | None]:
    """Yield the state given, else one that is open for a moment; None where it is in files."""
    opened = state or open_state(settings)
    try:
        yield opened
    finally:
        if opened is not None and opened is not state:
            opened.close()


def _read_older_users(file: Path) -> Mapping[str, str]:
    """Return the password hashes of a release without rules, so that its users can go on."""
    try:
        return {str(name): str(text) for name, text in json.loads(file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise CatalogUnusable(f"{file} is not a file of users: {error}; restore it from a backup") from None


class AccessStore:
    """This process's sight of the policy; usable from any thread. `state` is that of the open catalogue."""

    def __init__(self, settings: Settings, state: SharedState | None = None) -> None:
        self._document = open_document(settings, state, "access", access_file(settings), Policy())

    @property
    def policy(self) -> Policy:
        """Return the policy in force; no I/O that waits, so use it on an event loop. Raises CatalogUnusable."""
        return self._document.value

    @property
    def stamp(self) -> Hashable:
        """Return a stamp that changes with the policy, as of the last look at it."""
        return self._document.stamp

    def update(self, change: Callable[[Policy], Policy]) -> Policy:
        """Replace the policy by what `change` makes of it; durable on return. If it raises, nothing changes."""
        return self._document.update(change)

    def create(self, make: Callable[[], Policy]) -> bool:
        """Make the policy unless there is one; return whether it was made, by one of all that try."""
        return self._document.create(make)
