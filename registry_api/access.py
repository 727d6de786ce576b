"""Who asks, and what they may do: everybody may pull; push and delete need a user of this installation."""

import base64
import binascii
from typing import Literal, NamedTuple

from catalog.access import Users
from catalog.distributions import Distribution
from oci.errors import Denied, Unauthorized
from registry_api.threads import Threads

Action = Literal["pull", "push", "delete"]
ANYBODYS: frozenset[Action] = frozenset({"pull"})
ANONYMOUS = ""


class Login(NamedTuple):
    """A user name and a password, as they were sent."""

    username: str
    password: str


def parse_basic(header: bytes) -> Login | None:
    """Read an Authorization header; None for nobody. Raise Unauthorized for what is not HTTP Basic (RFC 7617).

    Empty name and empty password are nobody: containers/image sends them when it has no login and sees a challenge.
    """
    scheme, _, token = header.strip().partition(b" ")
    if scheme.lower() != b"basic":
        raise Unauthorized("this registry takes HTTP Basic logins only")
    try:
        text = base64.b64decode(token.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized("the Authorization header is not HTTP Basic") from None
    username, colon, password = text.partition(":")
    if not colon:
        raise Unauthorized("the Authorization header is not HTTP Basic")
    return Login(username, password) if username or password else None


def check_access(user: str, action: Action, found: Distribution | None = None) -> None:
    """Raise Unauthorized when the action needs a user and there is none, Denied for a change to a pinned version."""
    if user == ANONYMOUS and (action not in ANYBODYS or (found is not None and found.private)):
        raise Unauthorized(f"{action} needs a login")
    if found is not None and found.version is not None and action not in ANYBODYS:
        raise Denied(
            f"{found.path} serves version {found.version} of {found.repository} and nothing else; {action} to a path "
            "that serves the latest version"
        )


def check_cache_access(user: str, action: Action, cache: Distribution) -> None:
    """As `check_access` for what lies below a cache; raise Denied for a push, which upstream would know nothing of."""
    if user == ANONYMOUS and cache.private:
        raise Unauthorized(f"{action} needs a login")
    if action == "push":
        raise Denied(f"{cache.path} is a cache of {cache.remote}, which takes no pushes; push elsewhere")


class Gate:
    """Tells from a request's credentials who asks."""

    def __init__(self, users: Users, threads: Threads) -> None:
        self._users, self._threads = users, threads

    async def identify(self, authorization: bytes | None) -> str:
        """Return the user's name, ANONYMOUS for nobody; raise Unauthorized for wrong credentials."""
        if authorization is None:
            return ANONYMOUS
        login = parse_basic(authorization)
        if login is None:
            return ANONYMOUS
        if self._users.is_known(*login) or await self._threads.check(self._users.verify, *login):
            return login.username
        raise Unauthorized("wrong user name or password")
