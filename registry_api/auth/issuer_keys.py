"""The keys of OpenID Connect issuers, asked of them over HTTP. Source: OpenID Connect Discovery 1.0, RFC 7517."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import jwt

from catalog.settings import Settings
from oci.errors import RemoteRefused, RemoteUnavailable
from oci.remote.network.backends import GuardedBackend, NotingBackend, set_backend
from oci.remote.network.loopback import is_loopback
from oci.remote.network.reach import Reach

_LARGEST = 1024 * 1024


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
        configuration = await _get_json(client, issuer, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if configuration.get("issuer") != issuer:
            raise RemoteUnavailable("its configuration names another issuer", registry=issuer)
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
    try:
        address = httpx.URL(url)
        if address.scheme != "https" and not is_loopback(address.host):
            raise RemoteUnavailable(f"{url!r} is not https", registry=issuer)
        async with client.stream("GET", address, headers={"accept": "application/json"}) as response:
            if response.status_code != 200:
                raise RemoteUnavailable(f"responded {response.status_code} at {url}", registry=issuer)
            raw = b""
            async for part in response.aiter_bytes():
                raw += part
                if len(raw) > _LARGEST:
                    raise RemoteUnavailable(f"{url} is too long", registry=issuer)
        document = httpx.Response(200, content=raw).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise RemoteUnavailable(f"cannot read {url}: {error or type(error).__name__}", registry=issuer) from None
    if not isinstance(document, dict):
        raise RemoteUnavailable(f"{url} is not a JSON object", registry=issuer)
    return document


def _host_of(issuer: str, uri: str) -> str:
    try:
        host = httpx.URL(uri).host
    except httpx.InvalidURL:
        host = ""
    if not host:
        raise RemoteUnavailable("its configuration names no usable address for its keys", registry=issuer)
    return host
