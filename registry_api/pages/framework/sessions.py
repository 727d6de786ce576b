"""Sessions of the web pages: a signed token in a cookie, and the tokens that prove that a form is ours.

1. The cookie is signed by the installation's keys, so that any replica knows it. A changed password, a removed or disabled
   account, and the end of its time end it.
2. Logging out ends it in all processes: its id is kept until it would have expired (`catalog.access.ended_sessions`).
3. Each form holds a token made of the session, or before a login of a cookie of its own, by the same keys (double submit).
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import Scope

from catalog.access.bearer_tokens import PageSession, Subject, read_session, sign_session
from catalog.access.ended_sessions import SessionEnds
from catalog.access.policy import Policy, SigningKey
from catalog.settings import Settings
from oci.errors import Unauthorized
from registry_api.http.messages import find_header

_SESSION, _FORM = "entrepot-session", "entrepot-form"
_MOST_BYTES = 16 * 1024


def read_cookies(scope: Scope) -> Mapping[str, str]:
    """Return a request's cookies; none where they are malformed or too long. Pure."""
    header = find_header(scope, b"cookie") or b""
    if not header or len(header) > _MOST_BYTES:
        return {}
    try:
        # HTTP/2 proxies split the header at its semicolons, and lines of one header are joined by commas.
        return {
            name: morsel.value for name, morsel in SimpleCookie(header.decode("latin-1").replace(", ", "; ")).items()
        }
    except CookieError:
        return {}


def is_secure(scope: Scope, public_url: str) -> bool:
    """Return whether the client reaches us by TLS: directly, by a trusted proxy's word, or at our public address. Pure."""
    if scope.get("scheme") == "https":
        return True
    public = urlsplit(public_url)
    host = (find_header(scope, b"host") or b"").decode("latin-1").lower()
    return public.scheme == "https" and public.netloc.lower() == host


def form_token(key: SigningKey, form_id: str) -> str:
    """Return the token that a form holds for a session's id, or for that of a visitor without one. Pure."""
    return hmac.new(key.pem.encode(), f"entrepot form {form_id}".encode(), hashlib.sha256).hexdigest()


def is_own_form(policy: Policy, form_id: str, token: str) -> bool:
    """Return whether a form's token was made for an id by one of the installation's keys. Pure."""
    if not form_id:
        return False
    given = token.encode()
    return any(hmac.compare_digest(form_token(key, form_id).encode(), given) for key in policy.keys)


class Sessions:
    """Begins, reads and ends the sessions of one process's visitors."""

    def __init__(self, settings: Settings, ends: SessionEnds) -> None:
        self._settings, self._ends = settings, ends
        self._lifetime = timedelta(seconds=settings.session_lifetime)

    def read(self, scope: Scope, policy: Policy, now: datetime) -> PageSession | None:
        """Return the session of a request, None without one that holds."""
        cookies = read_cookies(scope)
        text = cookies.get(self._name(_SESSION, scope))
        if not text:
            return None
        try:
            session = read_session(policy, text, now=now)
        except Unauthorized:
            return None
        too_old = now.timestamp() >= session.began + self._lifetime.total_seconds()
        return None if too_old or self._ends.has(session) else session

    def begin(self, response: Response, scope: Scope, policy: Policy, subject: Subject, now: datetime) -> None:
        """Put a new session into a response, in the place of the visitor's form cookie."""
        text = sign_session(policy.keys[-1], subject, now=now, lifetime=self._lifetime)
        self._set(response, scope, _SESSION, text, seconds=int(self._lifetime.total_seconds()))
        self._set(response, scope, _FORM, "", seconds=0)

    def end(self, session: PageSession, now: datetime) -> None:
        """End a session everywhere; durable on return, so use a thread."""
        self._ends.end(session, now)

    def forget(self, response: Response, scope: Scope) -> None:
        """Have a browser delete the session's cookie."""
        self._set(response, scope, _SESSION, "", seconds=0)

    def form_id(self, scope: Scope, session: PageSession | None) -> str:
        """Return the id that a visitor's forms are made for, empty where there is none yet."""
        return session.id if session else read_cookies(scope).get(self._name(_FORM, scope), "")

    def begin_form(self, response: Response, scope: Scope, form_id: str) -> None:
        """Put a visitor's form cookie into a response."""
        self._set(response, scope, _FORM, form_id, seconds=3600)

    def _name(self, name: str, scope: Scope) -> str:
        """Return a cookie's name; over TLS with the prefix that keeps other hosts and plain HTTP from setting it."""
        return f"__Host-{name}" if is_secure(scope, self._settings.public_url) else name

    def _set(self, response: Response, scope: Scope, name: str, value: str, *, seconds: int) -> None:
        response.set_cookie(
            self._name(name, scope),
            value,
            max_age=seconds,
            path="/",
            secure=is_secure(scope, self._settings.public_url),
            httponly=True,
            samesite="lax",
        )


def make_form_id() -> str:
    """Return a random id for a visitor without a session."""
    return secrets.token_urlsafe(24)
