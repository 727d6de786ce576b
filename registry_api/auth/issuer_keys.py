"""What is asked of OpenID Connect issuers over HTTP: their configuration, their keys, and tokens for codes.

Source: OpenID Connect Discovery 1.0, RFC 7517; RFC 6749, 4.1.3 for the exchange of codes.
"""

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import jwt

from catalog.settings import Settings
from oci.errors import RemoteRefused, RemoteUnavailable, Unauthorized
from oci.remote.network.backends import GuardedBackend, NotingBackend, set_backend
from oci.remote.network.loopback import is_loopback
from oci.remote.network.reach import Reach

_LARGEST = 1024 * 1024
REQUEST_SECONDS = 15.0
"""How long one request may take as a whole, however slowly its response comes."""


def identity_client(settings: Settings) -> httpx.AsyncClient:
    """Return a client that requests issuers' keys, with the settings of upstreams; reads certificates."""
    verify = ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True
    return httpx.AsyncClient(verify=verify, proxy=settings.proxy or None, timeout=settings.connect_timeout)


async def request_keys(
    make_client: Callable[[], httpx.AsyncClient], issuer: str, internal: Sequence[str]
) -> Mapping[str, jwt.PyJWK]:
    """Return the issuer's keys, found by its configuration; raise RemoteUnavailable."""
    home = httpx.URL(issuer).host
    reach = Reach(home, internal)
    async with await asyncio.to_thread(make_client) as client:
        set_backend(client, NotingBackend(reach))
        configuration = await _get_configuration(client, issuer)
        uri = str(configuration.get("jwks_uri", ""))
        if _host_of(issuer, uri) == home:
            return _read_keys(await _get_json(client, issuer, uri))
    async with await asyncio.to_thread(make_client) as elsewhere:
        set_backend(elsewhere, GuardedBackend(reach))
        try:
            reach.check_name(_host_of(issuer, uri))  # a proxy would look no closer
            return _read_keys(await _get_json(elsewhere, issuer, uri))
        except RemoteRefused as error:
            raise RemoteUnavailable(f"the address of its keys {error.message}", registry=issuer) from None


async def request_configuration(make_client: Callable[[], httpx.AsyncClient], issuer: str) -> Mapping[str, Any]:
    """Return the issuer's configuration; raise RemoteUnavailable."""
    async with await asyncio.to_thread(make_client) as client:
        return await _get_configuration(client, issuer)


async def exchange_code(
    make_client: Callable[[], httpx.AsyncClient],
    issuer: str,
    url: str,
    internal: Sequence[str],
    *,
    form: Mapping[str, str],
    login: tuple[str, str] | None,
) -> Mapping[str, Any]:
    """Return the issuer's response to a code; `login` is that of the client by HTTP Basic.

    Raises Unauthorized for a code that the issuer refuses, RemoteUnavailable where it does not answer as it should.
    """
    home = httpx.URL(issuer).host
    reach = Reach(home, internal)
    async with await asyncio.to_thread(make_client) as client:
        is_home = _host_of(issuer, url) == home
        set_backend(client, NotingBackend(reach) if is_home else GuardedBackend(reach))
        try:
            if not is_home:
                reach.check_name(_host_of(issuer, url))  # a proxy would look no closer
            status, answer = await _send(client, issuer, "POST", url, data=dict(form), auth=login)
        except RemoteRefused as error:
            raise RemoteUnavailable(f"the address of its tokens {error.message}", registry=issuer) from None
    if status in {400, 401}:
        code = str(answer.get("error", ""))
        shown = code if re.fullmatch(r"[a-z_]{1,40}", code) else "it did not say why"
        raise Unauthorized(f"the issuer refused the login: {shown}; begin again")
    if status != 200:
        raise RemoteUnavailable(f"responded {status} to a code", registry=issuer)
    return answer


async def _get_configuration(client: httpx.AsyncClient, issuer: str) -> dict[str, Any]:
    configuration = await _get_json(client, issuer, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if configuration.get("issuer") != issuer:
        raise RemoteUnavailable("its configuration names another issuer", registry=issuer)
    return configuration


def _read_keys(key_set: Mapping[str, Any]) -> Mapping[str, jwt.PyJWK]:
    """Return the keys of a set by their ids."""
    keys: dict[str, jwt.PyJWK] = {}
    for key in key_set.get("keys", []):
        try:
            keys[str(key.get("kid", ""))] = jwt.PyJWK(key)
        except (jwt.PyJWTError, AttributeError):
            continue  # a kind of key that we cannot use
    return keys


async def _get_json(client: httpx.AsyncClient, issuer: str, url: str) -> dict[str, Any]:
    status, document = await _send(client, issuer, "GET", url)
    if status != 200:
        raise RemoteUnavailable(f"responded {status} at {url}", registry=issuer)
    return document


async def _send(
    client: httpx.AsyncClient,
    issuer: str,
    method: str,
    url: str,
    *,
    data: dict[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON object of a response, empty for a failure without one; raise RemoteUnavailable."""
    try:
        address = httpx.URL(url)
        if address.scheme != "https" and not is_loopback(address.host):
            raise RemoteUnavailable(f"{url!r} is not https", registry=issuer)
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        async with (
            asyncio.timeout(REQUEST_SECONDS),
            client.stream(method, address, headers=headers, data=data, auth=auth) as response,
        ):
            raw = b""
            async for part in response.aiter_raw():  # a small response may be packed from a large one
                raw += part
                if len(raw) > _LARGEST:
                    raise RemoteUnavailable(f"{url} is too long", registry=issuer)
    except TimeoutError:
        raise RemoteUnavailable(f"did not send {url} within {REQUEST_SECONDS:.0f} s", registry=issuer) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RemoteUnavailable(f"cannot read {url}: {error or type(error).__name__}", registry=issuer) from None
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        return response.status_code, document
    if response.status_code == 200:
        raise RemoteUnavailable(f"{url} is not a JSON object", registry=issuer)
    return response.status_code, {}


def _host_of(issuer: str, uri: str) -> str:
    try:
        host = httpx.URL(uri).host
    except httpx.InvalidURL:
        host = ""
    if not host:
        raise RemoteUnavailable("its configuration names no usable address", registry=issuer)
    return host
