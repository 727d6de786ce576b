"""Sessions of the web pages: a signed token in a cookie, and the tokens that prove that a form is ours.

1. The cookie is signed by the installation's keys, so that any replica knows it. A changed password, a removed or disabled
   account, and the end of its time end it. So does the removal or change of the trust, or of the issuer, that it came by.
2. Logging out ends it in all processes: its id is kept until it would have expired (`catalog.access.ended_sessions`).
3. Each form holds a token made of the session, or before a login of a cookie of its own, by the same keys (double submit).
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.types import Scope

from catalog.access.bearer_tokens import PageSession, Subject, read_session, sign_session
from catalog.access.ended_sessions import SessionEnds
from catalog.access.policy import Policy, SigningKey
from catalog.settings import Settings
from oci.errors import Unauthorized
from registry_api.bounded_cache import BoundedCache
from registry_api.http.messages import find_header

_SESSION, _FORM, _LOGIN = "entrepot-session", "entrepot-form", "entrepot-login"
LOGIN_WITHIN = 600
"""Seconds that a login at an issuer may take."""
_REMEMBERED = 1000
"""Verified sessions that a process knows again."""
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


class LoginState(NamedTuple):
    """A login at an issuer that this browser has begun: what its end must show, and where it leads then.

    `state` comes back in the URL, `nonce` in the token; `verifier` proves to the issuer who began (RFC 7636). `expires` is in
    seconds since 1970.
    """

    state: str
    nonce: str
    verifier: str
    next: str
    expires: float

    def seal(self, key: SigningKey) -> str:
        """Return it as a cookie's value, signed. Pure."""
        text = base64.urlsafe_b64encode(json.dumps(self).encode()).decode()
        return f"{text}.{_login_mark(key, text)}"


def _login_mark(key: SigningKey, text: str) -> str:
    return hmac.new(key.pem.encode(), f"entrepot login {text}".encode(), hashlib.sha256).hexdigest()


def open_login_state(policy: Policy, sealed: str, now: datetime) -> LoginState | None:
    """Return what a cookie's value holds; None for one that is too old, or was not sealed here. Pure."""
    text, _, mark = sealed.partition(".")
    if not any(hmac.compare_digest(_login_mark(key, text).encode(), mark.encode()) for key in policy.keys):
        return None
    found = LoginState(*json.loads(base64.urlsafe_b64decode(text)))
    return found if now.timestamp() < found.expires else None


class Sessions:
    """Begins, reads and ends the sessions of one process's visitors."""

    def __init__(self, settings: Settings, ends: SessionEnds) -> None:
        self._settings, self._ends = settings, ends
        self._lifetime = timedelta(seconds=settings.session_lifetime)
        self._verified = BoundedCache[str, PageSession](_REMEMBERED)

    def prepare(self) -> None:
        """Read what `read` asks for; on a thread, before the first request."""
        self._ends.prepare()

    def read(self, scope: Scope, policy: Policy, now: datetime) -> PageSession | None:
        """Return the session of a request, None without one that holds."""
        text = self._cookie(scope)
        if not text:
            return None
        session = self._verified.get(text)
        if session is None:
            try:
                session = read_session(policy, text, now=now)
            except Unauthorized:
                return None
            self._verified.put(text, session)
        elif not session.bearer.is_valid(policy, now):
            self._verified.discard(text)
            return None
        too_old = now.timestamp() >= session.began + self._lifetime.total_seconds()
        if too_old or self._ends.has(session) or not self._is_of_our_issuer(session, policy):
            return None
        return session

    def _is_of_our_issuer(self, session: PageSession, policy: Policy) -> bool:
        """Return whether people log in now by the issuer that a session came by; those by a password came by none."""
        if not session.bearer.trust:
            return True
        trust = policy.trusts_by_stamp.get(session.bearer.trust)
        ours = (self._settings.login_issuer, self._settings.login_client_id)
        return trust is not None and (trust.issuer, trust.audience) == ours

    def is_costly(self, scope: Scope) -> bool:
        """Return whether `read` would check a signature, which takes 0.3 ms: that of a cookie not verified here before."""
        text = self._cookie(scope)
        return bool(text) and text not in self._verified

    def _cookie(self, scope: Scope) -> str:
        return read_cookies(scope).get(self._name(_SESSION, scope), "")

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

    def begin_login(self, response: Response, scope: Scope, policy: Policy, login: LoginState) -> None:
        """Put the state of a login at an issuer into a response."""
        self._set(response, scope, _LOGIN, login.seal(policy.keys[-1]), seconds=LOGIN_WITHIN)

    def read_login(self, scope: Scope, policy: Policy, now: datetime) -> LoginState | None:
        """Return the login at an issuer that this browser has begun, None without one."""
        sealed = read_cookies(scope).get(self._name(_LOGIN, scope), "")
        return open_login_state(policy, sealed, now) if sealed else None

    def end_login(self, response: Response, scope: Scope) -> None:
        """Have a browser delete the state of a login at an issuer."""
        self._set(response, scope, _LOGIN, "", seconds=0)

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
