"""One remote's connection: retries, redirects, time-outs and authorization, the same for every request."""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Self

import httpx

from oci.errors import (
    RemoteError,
    RemoteNotFound,
    RemoteRateLimited,
    RemoteRefused,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from oci.remote.address import is_loopback
from oci.remote.answers import parse_retry_after, read_bounded, said_by, unavailable
from oci.remote.auth import Authorizer
from oci.remote.keychain import Credential
from oci.remote.options import RemoteOptions
from oci.remote.traffic import Gate, Traffic

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_ANSWER_BYTES = 16 * 1024 * 1024

Content = bytes | AsyncIterator[bytes] | None


class RemoteTransport:
    """Sends requests to one registry; an async context manager. `sleep`, `jitter` (0..1) and `clock` can be given by tests.

    `traffic` is what it shares with other connections to the same remote, `report` is told of each answer and each error.
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
        self._options = options or RemoteOptions()
        self._sleep, self._jitter, self._clock = sleep, jitter, clock
        self._client = _make_client(self._options)
        # Other hosts, to which blobs are redirected or that give tokens, never see the client certificate.
        self._elsewhere = (
            _make_client(replace(self._options, client_cert=None, client_key=None))
            if self._options.client_cert
            else self._client
        )
        self._authorizer = Authorizer(host, find=find_credential, send=self._send_for_token, clock=clock)
        self._only_basic, self._traffic = only_basic, traffic or Traffic()
        self._connecting = asyncio.Lock()
        self._base = ""
        self._takes_signatures = False

    async def request(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        limit: int = _ANSWER_BYTES,
        once: bool = False,
    ) -> httpx.Response:
        """Send and read the whole answer of up to `limit` bytes; raise a RemoteError for any status of 400 and above."""
        async with self.stream(method, path, scope=scope, headers=headers, content=content, once=once) as response:
            try:
                await read_bounded(response, limit, self.host)
            except httpx.TransportError as error:
                broken = unavailable(error, self.host)
                self.report(broken)
                raise broken from error
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
        """Send, and give the answer with its body unread; an iterator's `content` is sent once and never again.

        With `once` nothing is tried again, for there is somebody else to ask.
        """
        # What is sent may come from the same remote, whose slots are then needed to read it.
        async with self._traffic.slot() if _is_repeatable(content) else nullcontext():
            try:
                base = await self._connect(once=once)
                url = httpx.URL(base).join(path)
                response = await self._send(method, url, scope, dict(headers or {}), content, once=once)
            except RemoteError as error:
                self.report(error)
                raise
            self.report(None)
            try:
                yield response
            finally:
                await response.aclose()

    async def fetch(self, url: str, *, limit: int) -> bytes | None:
        """A small document at another place that belongs to the registry, asked for without a login; None when there is none."""
        response = await self._retried("GET", httpx.URL(url), _no_authorization, {}, None)
        if response.status_code in (404, 410):
            await response.aclose()
            return None
        if response.status_code >= 400:
            raise await self._failure(response, "GET", httpx.URL(url).path)
        try:
            await read_bounded(response, limit, self.host)
        except httpx.TransportError as error:
            raise unavailable(error, self.host) from error
        finally:
            await response.aclose()
        return response.content

    async def origin(self) -> str:
        """The registry as scheme, host and port; raise a RemoteError when it cannot be reached."""
        return _origin_text(await self._connect(once=True))

    @property
    def known_origin(self) -> str:
        """The same as far as the registry was spoken to, else empty."""
        return _origin_text(self._base) if self._base else ""

    async def takes_signatures(self) -> bool:
        """Whether the registry has the extension for Atomic signatures."""
        await self._connect(once=False)
        return self._takes_signatures

    async def _connect(self, *, once: bool) -> str:
        """Find out once which scheme the registry speaks and how it wants us to authenticate."""
        async with self._connecting:
            if not self._base:
                self._base = await self._ping(once=once)
            return self._base

    async def _ping(self, *, once: bool) -> str:
        may_be_plain = is_loopback(self.host) or self.host in self._options.insecure_registries
        if self._scheme == "http" and not may_be_plain:
            raise RemoteRefused(
                "plain HTTP is refused; use https, or name the host in ENTREPOT_INSECURE_REGISTRIES", registry=self.host
            )
        schemes = [self._scheme] if self._scheme else ["https", "http"] if may_be_plain else ["https"]
        for scheme in schemes:
            try:
                url = httpx.URL(f"{scheme}://{self.host}/v2/")
                is_guess = scheme != schemes[-1]
                response = await self._retried("GET", url, _no_authorization, {}, None, once=once or is_guess)
            except RemoteUnavailable:
                if scheme == schemes[-1]:
                    raise
                continue
            if response.status_code not in (200, 401):
                raise await self._failure(response, "GET", "/v2/")
            self._takes_signatures = response.headers.get("x-registry-supports-signatures") == "1"
            await response.aclose()
            self._authorizer.learn(["Basic"] if self._only_basic else response.headers.get_list("www-authenticate"))
            return f"{scheme}://{self.host}"
        raise AssertionError("there is always a scheme")

    async def _send(
        self, method: str, url: httpx.URL, scope: str, headers: dict[str, str], content: Content, *, once: bool
    ) -> httpx.Response:
        async def authorization() -> str | None:
            return await self._authorizer.header(scope)

        for is_again in (False, True):
            response = await self._retried(
                method, url, authorization, headers, content, once=once, gate=self._traffic.gate
            )
            if response.status_code != 401:
                break
            self._authorizer.learn(response.headers.get_list("www-authenticate"))
            await response.aclose()
            self._authorizer.forget(scope)
            if is_again or not _is_repeatable(content):
                raise await self._authorizer.refusal()
        if response.status_code >= 400 and response.status_code != 416:
            raise await self._failure(response, method, url.path)
        return response

    async def _retried(
        self,
        method: str,
        url: httpx.URL,
        authorization: Callable[[], Awaitable[str | None]],
        headers: dict[str, str],
        content: Content,
        *,
        once: bool = False,
        gate: Gate | None = None,
    ) -> httpx.Response:
        """Try until there is an answer that trying again would not mend; with `once`, do not try again."""
        deadline = self._clock() + self._options.total_timeout
        attempts = 1 if once or not _is_repeatable(content) else self._options.attempts
        for attempt in range(1, attempts + 1):
            if gate is not None:
                await gate.admit(method, url.path, 0.0 if once else deadline - self._clock())
            try:
                response = await self._follow(method, url, authorization, headers, content)
                if gate is not None:
                    await self._learn(gate, method, url.path, response)
                if response.status_code not in (408, 429) and response.status_code < 500:
                    return response
                error: RemoteError = await self._failure(response, method, url.path)
            except httpx.TransportError as broken:
                error = unavailable(broken, self.host)
            pause = self._pause(attempt, error)
            is_long = (error.retry_after or 0.0) > self._options.retry_patience
            if attempt == attempts or is_long or self._clock() + pause > deadline:
                raise error
            await self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _learn(self, gate: Gate, method: str, path: str, response: httpx.Response) -> None:
        """Let the gate know what the registry's answer tells; that of a place it has redirected to tells nothing."""
        if self._is_registry(response.request.url):
            retry_after = parse_retry_after(response.headers.get("retry-after"), now=time.time())
            await gate.learn(method, path, response.status_code, response.headers, retry_after)

    def _pause(self, attempt: int, error: RemoteError) -> float:
        """Seconds before the next attempt: what the remote asks for, else exponential with full jitter."""
        if error.retry_after is not None:
            return error.retry_after + self._jitter()
        return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**attempt) * self._jitter()

    async def _follow(
        self,
        method: str,
        url: httpx.URL,
        authorization: Callable[[], Awaitable[str | None]],
        headers: dict[str, str],
        content: Content,
    ) -> httpx.Response:
        """Send and follow redirects; credentials go to the registry itself and to no other place."""
        origin = _origin(url)
        for _ in range(_MAX_REDIRECTS + 1):
            is_registry = self._is_registry(url)
            sent = {**dict(self._options.headers if is_registry else ()), **headers}
            if _origin(url) == origin and (value := await authorization()):
                sent["Authorization"] = value
            client = self._client if is_registry else self._elsewhere
            request = client.build_request(method, url, headers=sent, content=content)
            response = await client.send(request, stream=True)
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return response
            await response.aclose()
            target = url.join(location)
            if url.scheme == "https" and target.scheme != "https":
                raise RemoteRefused(
                    f"redirects to {target.scheme}://{target.host}, which is not https", registry=self.host
                )
            url = target
        raise RemoteRefused(f"redirects more than {_MAX_REDIRECTS} times", registry=self.host)

    def _is_registry(self, url: httpx.URL) -> bool:
        """Whether a URL is of the registry itself, and not of one it sends us to."""
        base = httpx.URL(self._base or f"{url.scheme}://{self.host}")
        return _origin(url) == _origin(base)

    async def _send_for_token(self, request: httpx.Request) -> httpx.Response:
        """Ask a token service, which may be another host; its credentials are in the request."""
        base = httpx.URL(self._base or f"https://{self.host}")
        if base.scheme == "https" and request.url.scheme != "https":
            raise RemoteRefused(f"its token service {request.url.host} is not https", registry=self.host)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        content = await request.aread()
        response = await self._retried(request.method, request.url, _no_authorization, headers, content or None)
        try:
            await read_bounded(response, _ANSWER_BYTES, self.host)
        finally:
            await response.aclose()
        return response

    async def _failure(self, response: httpx.Response, method: str, path: str) -> RemoteError:
        """The error for an answer of 400 and above, with the remote's own words."""
        said = await said_by(response)
        await response.aclose()
        status = response.status_code
        message = f"{method} {path} answered {status}{': ' + said if said else ''}"
        retry_after = parse_retry_after(response.headers.get("retry-after"), now=time.time())
        kind: type[RemoteError] = RemoteRefused
        if status in (401, 403):
            kind = RemoteUnauthorized
        elif status in (404, 410):
            kind = RemoteNotFound
        elif status == 429:
            kind = RemoteRateLimited
        elif status >= 500 or status == 408:
            kind = RemoteUnavailable
        return kind(message, registry=self.host, status=status, retry_after=retry_after)

    async def passed(self, count: int) -> None:
        """Count bytes of a blob on their way, and wait where the remote's bandwidth is limited."""
        await self._traffic.passed(count)

    async def pause(self, attempt: int, error: RemoteError | None = None) -> None:
        """Wait before taking up again what broke off; longer with each attempt, or as long as the remote has asked for."""
        await self._sleep(self._pause(attempt, error or RemoteUnavailable("")))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        await self._elsewhere.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _is_repeatable(content: Content) -> bool:
    """Whether a request with this content can be sent again."""
    return content is None or isinstance(content, bytes)


async def _no_authorization() -> str | None:
    return None


def _make_client(options: RemoteOptions) -> httpx.AsyncClient:
    context = ssl.create_default_context()
    for ca_file in filter(None, (options.ca_file, options.own_ca_file)):
        context.load_verify_locations(cafile=ca_file)
    if options.client_cert:
        # Without a password, OpenSSL would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(options.client_cert, options.client_key, password="")
    return httpx.AsyncClient(
        verify=context,
        proxy=options.proxy or None,
        trust_env=not options.direct,
        follow_redirects=False,
        headers={"User-Agent": "entrepot", "Accept-Encoding": "identity"},
        limits=httpx.Limits(max_connections=options.connections, max_keepalive_connections=options.connections),
        timeout=httpx.Timeout(
            connect=options.connect_timeout, read=options.read_timeout, write=options.read_timeout, pool=None
        ),
    )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


def _origin_text(base: str) -> str:
    scheme, host, port = _origin(httpx.URL(base))
    return f"{scheme}://{host}:{port}"
