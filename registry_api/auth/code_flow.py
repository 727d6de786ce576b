"""Logins at an OpenID Connect issuer by the authorization code flow with PKCE, for people with a browser.

Source: OpenID Connect Core 1.0, 3.1; RFC 7636 for PKCE, RFC 9207 for the issuer in the response, RFC 9700 for what must hold.
"""

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_plus, urlencode, urlsplit

from catalog.settings import Settings
from oci.errors import RemoteUnavailable, SettingsInvalid, Unauthorized
from oci.remote.network.loopback import is_loopback
from registry_api.auth.oidc_tokens import Wanted
from registry_api.auth.rate_limits import TokenBuckets
from registry_api.bounded_cache import BoundedCache
from registry_api.http.fair_queue import FairQueue

if TYPE_CHECKING:
    import httpx

CALLBACK = "/login/oidc/callback"
"""The path of the redirect URI below ENTREPOT_PUBLIC_URL."""
_FRESH = 3600.0
"""Seconds for which the issuer's configuration is kept."""
_RESTS = 15.0
"""Seconds for which an issuer that failed is not asked again."""
_REMEMBERED = 10_000


class Endpoints(NamedTuple):
    """Where the issuer takes people and codes; `takes_basic`: clients log in by HTTP Basic, else by the form."""

    authorization: str
    token: str
    takes_basic: bool
    names_itself: bool


def read_endpoints(issuer: str, configuration: Mapping[str, Any]) -> Endpoints:
    """Return the endpoints of an issuer's configuration; raise RemoteUnavailable for one that cannot be used. Pure."""
    found = []
    for name in ("authorization_endpoint", "token_endpoint"):
        url = str(configuration.get(name, ""))
        if not is_usable_url(url):
            raise RemoteUnavailable(f"its configuration names no usable {name}", registry=issuer)
        found.append(url)
    methods = configuration.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    names_itself = configuration.get("authorization_response_iss_parameter_supported") is True
    return Endpoints(found[0], found[1], "client_secret_basic" in methods, names_itself)


def is_usable_url(url: str) -> bool:
    """Return whether a URL is of https, or of this machine, in printable ASCII: it becomes a header of ours. Pure."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return (parts.scheme == "https" and bool(parts.hostname)) or (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        )
    except ValueError:
        return False


class CodeFlow:
    """The issuer that people log in by; for one event loop."""

    def __init__(
        self,
        settings: Settings,
        make_client: "Callable[[], httpx.AsyncClient]",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._make_client, self._clock = settings, make_client, clock
        self.issuer, self.client_id = settings.login_issuer, settings.login_client_id
        self.redirect_uri = settings.public_url.rstrip("/") + CALLBACK
        self._secret = read_client_secret(settings)
        self._endpoints: Endpoints | None = None
        self._asked_at = self._failed_at = float("-inf")
        self._asking: asyncio.Task[Endpoints] | None = None
        self._turns = FairQueue(4, waiting=8)
        self._rate = TokenBuckets(0.5, burst=20, reason="too many logins", clock=clock)
        self._used: BoundedCache[str, None] = BoundedCache(_REMEMBERED)

    @property
    def host(self) -> str:
        """Return the issuer's host, as people know it."""
        return urlsplit(self.issuer).netloc

    def spend(self, address: str) -> None:
        """Count a login of an address; raise TooManyRequests."""
        self._rate.spend(address)

    def use_once(self, state: str) -> bool:
        """Return whether a login's state has not been used in this process before."""
        if state in self._used:
            return False
        self._used.put(state, None)
        return True

    async def endpoints(self) -> Endpoints:
        """Return the issuer's endpoints, asked for once an hour, by one request for all who wait; raise RemoteUnavailable."""
        now = self._clock()
        if self._endpoints is not None and now - self._asked_at < _FRESH:
            return self._endpoints
        if now - self._failed_at < _RESTS:
            raise RemoteUnavailable("it failed a moment ago", registry=self.issuer)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(now))
            self._asking.add_done_callback(_take_error)
        return await asyncio.shield(self._asking)  # who gives up takes it from nobody

    async def _ask(self, now: float) -> Endpoints:
        try:
            self._endpoints = read_endpoints(self.issuer, await self._request_configuration())
        except RemoteUnavailable:
            self._failed_at = self._clock()
            raise
        self._asked_at = now
        return self._endpoints

    async def _request_configuration(self) -> Mapping[str, Any]:
        await asyncio.to_thread(_load)
        from registry_api.auth.issuer_keys import request_configuration  # loaded by the thread

        return await request_configuration(self._make_client, self.issuer)

    def authorization_url(self, endpoints: Endpoints, *, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent to log in. Pure."""
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.client_id,
                "redirect_uri": self.redirect_uri,
                "scope": self._settings.login_scopes,
                "state": state,
                "nonce": nonce,
                "code_challenge": code_challenge(verifier),
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoints.authorization}{'&' if '?' in endpoints.authorization else '?'}{query}"

    async def exchange(self, code: str, verifier: str, *, cost_key: str) -> str:
        """Return the identity token that the issuer gives for a code; raise Unauthorized or RemoteUnavailable."""
        endpoints = await self.endpoints()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        login = None
        if self._secret and endpoints.takes_basic:  # RFC 6749, 2.3.1: both are encoded as in a form
            login = (quote_plus(self.client_id), quote_plus(self._secret))
        else:
            form["client_id"] = self.client_id
            form |= {"client_secret": self._secret} if self._secret else {}
        async with self._turns.turn(cost_key):
            await asyncio.to_thread(_load)
            from registry_api.auth.issuer_keys import exchange_code  # loaded by the thread

            answer = await exchange_code(
                self._make_client,
                self.issuer,
                endpoints.token,
                self._settings.internal_hosts,
                form=form,
                login=login,
            )
        token = answer.get("id_token")
        if not isinstance(token, str) or not token:
            raise Unauthorized("the issuer returned no identity token; ask an administrator")
        return token

    def wanted(self, nonce: str) -> Wanted:
        """Return what the identity token of a login must be made for."""
        return Wanted(self.issuer, self.client_id, nonce)


def make_login_value() -> str:
    """Return a random value of a login: its state, its nonce, or the verifier of PKCE."""
    return secrets.token_urlsafe(32)


def code_challenge(verifier: str) -> str:
    """Return the challenge of a verifier by S256 (RFC 7636, 4.2). Pure."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def read_client_secret(settings: Settings) -> str:
    """Return the client's secret, empty without one; raise SettingsInvalid for a file that cannot be read."""
    if settings.login_client_secret is not None:
        return settings.login_client_secret.get_secret_value()
    if settings.login_client_secret_file is None:
        return ""
    try:
        return settings.login_client_secret_file.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"ENTREPOT_LOGIN_CLIENT_SECRET_FILE: {error}") from None


def open_code_flow(settings: Settings, make_client: "Callable[[], httpx.AsyncClient]") -> CodeFlow | None:
    """Return the issuer that people log in by, None where none is set; raise SettingsInvalid."""
    if not settings.login_issuer:
        return None
    if not is_usable_url(settings.login_issuer):
        raise SettingsInvalid(
            f"ENTREPOT_LOGIN_ISSUER is {settings.login_issuer!r}; expected the https:// URL of an OpenID Connect issuer"
        )
    if not (settings.login_client_id and settings.public_url):
        raise SettingsInvalid("ENTREPOT_LOGIN_ISSUER needs ENTREPOT_LOGIN_CLIENT_ID and ENTREPOT_PUBLIC_URL")
    if "openid" not in settings.login_scopes.split():
        raise SettingsInvalid(f"ENTREPOT_LOGIN_SCOPES is {settings.login_scopes!r}; expected openid among them")
    return CodeFlow(settings, make_client)


def _take_error(task: "asyncio.Task[Endpoints]") -> None:
    """Take the error of a request for which nobody waits any more."""
    if not task.cancelled():
        task.exception()


def _load() -> None:
    """Load the HTTP client, on a thread: a registry without an issuer saves it."""
    import registry_api.auth.issuer_keys  # noqa: F401  # for what it loads
