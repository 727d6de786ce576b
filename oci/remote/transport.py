"""One remote's connection: retries, redirects, time-outs and authorization, the same for every request."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Self

import httpx

from oci.errors import RemoteError, RemoteRefused, RemoteTokenEnded, RemoteUnavailable
from oci.remote.auth.authorization import Authorizer, Strangers
from oci.remote.auth.keychain import Credential
from oci.remote.clients import Clients, timeout_of
from oci.remote.limits.traffic import Gate, Traffic
from oci.remote.network.hops import check_hops, current
from oci.remote.network.loopback import is_loopback
from oci.remote.network.origin import UrlOrigin, follow_to, may_hold_login, origin_of, place_at
from oci.remote.network.reach import Reach
from oci.remote.network.silence import given_up
from oci.remote.options import RemoteOptions
from oci.remote.responses import (
    error_text,
    failure_of,
    is_passing,
    parse_retry_after,
    pause_before_retry,
    read_bounded,
    unavailable,
)
from oci.remote.sending import Authorize, Content, is_repeatable, no_authorization, waited_for

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_AUTHORIZATIONS = 3
"""How often a request is sent with another authorization each time."""

_RESPONSE_BYTES = 16 * 1024 * 1024


class RemoteTransport:
    """Sends requests to one registry; an async context manager. `sleep`, `jitter` (0..1) and `clock` can be given by tests.

    `traffic` is shared with other connections to the same remote, `report` is called with each error, with None for a response.
    `only_basic` sends the login itself whatever the registry asks for: to other APIs at the same host.
    """

    def __init__(
        self,
        host: str,
        *,
        scheme: str = "",
        options: RemoteOptions | None = None,
        find_credential: Callable[[], Credential | None] = lambda: None,
        only_basic: bool = False,
        traffic: Traffic | None = None,
        report: Callable[[RemoteError | None], None] = lambda _error: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.host, self._scheme, self.report = host, scheme, report
        self.options = options or RemoteOptions()
        self._sleep, self._jitter, self.clock = sleep, jitter, clock
        self._reach = Reach(host, self.options.internal_hosts)
        self._clients = Clients(self.options, self._reach)
        self._authorizer = Authorizer(host, find=find_credential, send=self._send_for_token, clock=clock)
        self._strangers = Strangers(host, send=self._send_for_token, clock=clock)
        self._only_basic, self._traffic = only_basic, traffic or Traffic()
        self._connecting = asyncio.Lock()
        self._base: httpx.URL | None = None
        self._home: UrlOrigin | None = None
        self._takes_signatures = False
        self.requests = 0
        """Requests answered so far, those for tokens, redirects and retries among them."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limit: int = _RESPONSE_BYTES,
        once: bool = False,
    ) -> httpx.Response:
        """Send and read the whole response of up to `limit` bytes; raise a RemoteError for any status of 400 and above."""
        async with self.stream(method, path, scope=scope, headers=headers, content=content, once=once) as response:
            try:
                await read_bounded(response, limit, self.host, self._traffic.silence.heard)
            except httpx.TransportError as error:
                raise self.broken(error) from error
            return response

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        content: Content = None,
        once: bool = False,
    ) -> AsyncIterator[httpx.Response]:
        """Send, and yield the response with its body unread; an iterator's `content` is sent once and never again.

        With `once` nothing is tried again, for there is another place to ask.
        """
        check_hops(self.host)
        # What is sent may come from the same remote, whose slots are then needed to read it.
        async with self._traffic.slot() if is_repeatable(content) else nullcontext():
            self._traffic.silence.asked()
            try:
                url = place_at(await self._connect(once=once), path)
                response = await self._send(method, url, scope, dict(headers or {}), content, once=once)
            except RemoteError as error:
                self.report(error)
                raise
            finally:
                self._traffic.silence.done()
            self.report(None)
            try:
                yield response
                self._traffic.silence.heard()
            finally:
                await response.aclose()

    def broken(self, error: httpx.TransportError) -> RemoteUnavailable:
        """Return the error for a response that broke off, or fell silent, in its body."""
        if isinstance(error, httpx.TimeoutException):
            self._traffic.silence.failed(self.clock() - self.options.read_timeout)
        failure = unavailable(error, self.host)
        self.report(failure)
        return failure

    async def fetch(self, url: str, *, limit: int) -> bytes | None:
        """Return a small document at a place that belongs to the registry, asked for without a login; None when there is none."""
        response = await self._retried("GET", httpx.URL(url), no_authorization, {}, None)
        if response.status_code in (404, 410):
            await response.aclose()
            return None
        if response.status_code >= 400:
            raise await self._failure(response, "GET", httpx.URL(url).path)
        try:
            await read_bounded(response, limit, self.host, self._traffic.silence.heard)
        except httpx.TransportError as error:
            raise self.broken(error) from error
        finally:
            await response.aclose()
        return response.content

    async def origin(self) -> str:
        """Return the registry as scheme, host and port; raise a RemoteError when it cannot be reached."""
        return str(origin_of(await self._connect(once=True)))

    @property
    def known_origin(self) -> str:
        """The same, where the registry was connected to; else empty."""
        return str(self._home) if self._home else ""

    async def takes_signatures(self) -> bool:
        """Return whether the registry has the extension for Atomic signatures."""
        await self._connect(once=False)
        return self._takes_signatures

    async def _connect(self, *, once: bool) -> httpx.URL:
        """Find out once which scheme the registry speaks and how it wants us to authenticate."""
        async with self._connecting:
            if self._base is None:
                self._base = await self._ping(once=once)
                self._home = origin_of(self._base)
            return self._base

    async def _ping(self, *, once: bool) -> httpx.URL:
        may_be_plain = is_loopback(self.host) or self.host in self.options.insecure_registries
        if self._scheme == "http" and not may_be_plain:
            raise RemoteRefused(
                "plain HTTP is refused; use https, or name the host in ENTREPOT_INSECURE_REGISTRIES", registry=self.host
            )
        schemes = [self._scheme] if self._scheme else ["https", "http"] if may_be_plain else ["https"]
        if len(schemes) > 1 and self._traffic.schemes.get(self.host) == "http":
            schemes.reverse()
        for scheme in schemes:
            try:
                url = httpx.URL(f"{scheme}://{self.host}/v2/")
                is_guess = scheme != schemes[-1]
                response = await self._retried("GET", url, no_authorization, {}, None, once=once or is_guess)
            except RemoteUnavailable:
                if scheme == schemes[-1]:
                    raise
                continue
            if response.status_code not in (200, 401):
                raise await self._failure(response, "GET", "/v2/")
            await error_text(response)  # read to its end, the connection serves the next request
            await response.aclose()
            # What another place wants, or has, says nothing of the registry.
            if self._is_registry(response.request.url):
                self._takes_signatures = response.headers.get("x-registry-supports-signatures") == "1"
                self._authorizer.learn(["Basic"] if self._only_basic else response.headers.get_list("www-authenticate"))
            self._traffic.schemes[self.host] = scheme
            return httpx.URL(f"{scheme}://{self.host}")
        raise AssertionError("there is always a scheme")

    async def _send(
        self, method: str, url: httpx.URL, scope: str, headers: dict[str, str], content: Content, *, once: bool
    ) -> httpx.Response:
        async def authorization(at: httpx.URL) -> str | None:
            return await self._authorizer_at(at).header(scope)

        for attempt in range(_AUTHORIZATIONS):
            response = await self._retried(
                method, url, authorization, headers, content, once=once, gate=self._traffic.gate
            )
            authorizer = self._authorizer_at(response.request.url)
            verdict = authorizer.judge(scope, response)
            if verdict == "done":
                break
            await response.aclose()
            if verdict == "refused" or attempt == _AUTHORIZATIONS - 1:
                raise await authorizer.refusal()
            if not is_repeatable(content):
                raise RemoteTokenEnded(
                    "does not accept the token any longer", registry=self.host, status=response.status_code
                )
        if response.status_code >= 400 and response.status_code != 416:
            raise await self._failure(response, method, url.path)
        return response

    def _authorizer_at(self, url: httpx.URL) -> Authorizer:
        """Return the authorizer of a place: the registry's login is for the registry alone."""
        return self._authorizer if self._is_registry(url) else self._strangers.at(origin_of(url))

    async def _retried(
        self,
        method: str,
        url: httpx.URL,
        authorization: Authorize,
        headers: dict[str, str],
        content: Content,
        *,
        once: bool = False,
        gate: Gate | None = None,
        keep: bool = False,
    ) -> httpx.Response:
        """Try until there is a response that trying again would not mend; with `once`, do not try again.

        Nothing is waited for longer than the remote may be silent, all tries and pauses together.
        """
        deadline = self.clock() + self.options.total_timeout
        attempts = 1 if once or not is_repeatable(content) else self.options.attempts
        quiet = 0.0
        error: RemoteError | None = None
        for attempt in range(1, attempts + 1):
            if gate is not None:
                await gate.admit(method, url.path, 0.0 if once else deadline - self.clock())
            started, left = self.clock(), self._patience(quiet, error)
            try:
                response = await self._follow(method, url, authorization, headers, content, left, keep=keep)
                if gate is not None:
                    await self._learn(gate, method, url.path, response)
                if not is_passing(response.status_code) or (method == "HEAD" and response.status_code == 500):
                    return response
                error = await self._failure(response, method, url.path)
                quiet = 0.0
            except httpx.TransportError as broken:
                error = unavailable(broken, self.host)
                waited = waited_for(content, broken, self.clock() - started, self.options.read_timeout)
                self._traffic.silence.failed(self.clock() - waited)
                quiet += waited
            pause = pause_before_retry(attempt, error, self._jitter())
            is_long = (error.retry_after or 0.0) > self.options.retry_patience
            if attempt == attempts or is_long or self.clock() + pause > deadline:
                raise error
            if quiet:
                quiet += pause
                self._patience(quiet, error)
            await self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _patience(self, quiet: float, error: RemoteError | None) -> float:
        """Return the seconds for which a byte is waited for, of a remote that has been silent for so long; raise RemoteSilent."""
        limit = self.options.silence_timeout
        left = min(limit - quiet, self._traffic.silence.left(limit))
        if left <= 0:
            raise given_up(limit, error, self.host)
        return left

    async def _learn(self, gate: Gate, method: str, path: str, response: httpx.Response) -> None:
        """Let the gate learn from a response of the registry; one of a place that it has redirected to is ignored."""
        if self._is_registry(response.request.url):
            retry_after = parse_retry_after(response.headers.get("retry-after"), now=time.time())
            await gate.learn(method, path, response.status_code, response.headers, retry_after)

    async def _follow(
        self,
        method: str,
        url: httpx.URL,
        authorization: Authorize,
        headers: dict[str, str],
        content: Content,
        left: float,
        *,
        keep: bool = False,
    ) -> httpx.Response:
        """Send and follow redirects; what belongs to an origin goes to no other. With `keep` no other is gone to."""
        start = origin_of(url)
        for _ in range(_MAX_REDIRECTS + 1):
            is_registry = self._is_registry(url)
            sent = {**dict(self.options.headers if is_registry else ()), **headers}
            if is_registry and (hops := current.get()) is not None:
                sent["Via"] = hops.via
            if value := await authorization(url):
                sent["Authorization"] = value
            if not is_registry:
                self._reach.check_name(url.host)
            client = self._clients.home if is_registry else self._clients.elsewhere
            request = client.build_request(
                method, url, headers=sent, content=content, timeout=timeout_of(self.options, left)
            )
            response = await client.send(request, stream=True)
            self.requests += 1
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return response
            await response.aclose()
            url = follow_to(url, location, registry=self.host, what="redirects to")
            if keep and origin_of(url) != start:
                raise RemoteRefused(
                    f"its token service {start} redirects to {origin_of(url)}, where the login is not sent",
                    registry=self.host,
                )
        raise RemoteRefused(f"redirects more than {_MAX_REDIRECTS} times", registry=self.host)

    def _is_registry(self, url: httpx.URL) -> bool:
        """Return whether a URL is of the registry itself, and not of one it sends us to."""
        home = self._home or origin_of(httpx.URL(f"{url.scheme}://{self.host}"))
        return origin_of(url) == home

    async def _send_for_token(self, request: httpx.Request) -> httpx.Response:
        """Ask a token service, which may be another host; its credentials are in the request, and go to that service alone."""
        authorization, content = request.headers.pop("authorization", None), await request.aread()
        base = self._base or httpx.URL(f"https://{self.host}")
        if not may_hold_login(
            request.url, base, self.options.insecure_registries, is_login=bool(authorization or content)
        ):
            raise RemoteRefused(
                f"its token service {origin_of(request.url)} is not https, so no login is sent there; where the registry "
                "is in plain HTTP too, name it in ENTREPOT_INSECURE_REGISTRIES",
                registry=self.host,
            )
        start = origin_of(request.url)

        async def authorize(at: httpx.URL) -> str | None:
            return authorization if origin_of(at) == start else None

        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        response = await self._retried(
            request.method, request.url, authorize, headers, content or None, keep=bool(authorization)
        )
        try:
            await read_bounded(response, _RESPONSE_BYTES, self.host, self._traffic.silence.heard)
        except httpx.TransportError as error:
            raise self.broken(error) from error
        finally:
            await response.aclose()
        return response

    async def _failure(self, response: httpx.Response, method: str, path: str) -> RemoteError:
        """Return the error for a response of 400 and above; only the registry's own message is part of it."""
        url = response.request.url
        is_registry = self._is_registry(url)
        text = await error_text(response) if is_registry else f"sent on to {url.host}"
        await response.aclose()
        self._traffic.silence.heard()
        return failure_of(response, text, method=method, path=path, host=self.host)

    async def passed(self, count: int, *, sent: bool = False) -> None:
        """Count bytes of a blob on their way, and wait where the remote's bandwidth is limited; what is `sent` is not heard."""
        if not sent:
            self._traffic.silence.heard()
        await self._traffic.passed(count)

    async def pause(self, attempt: int, error: RemoteError | None = None) -> None:
        """Wait before taking up again what broke off; longer with each attempt, or as long as the remote has asked for."""
        await self._sleep(pause_before_retry(attempt, error or RemoteUnavailable(""), self._jitter()))

    async def close(self) -> None:
        """Close all connections."""
        await self._clients.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()
