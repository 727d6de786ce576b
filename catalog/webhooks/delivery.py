"""Delivers notifications to subscribers: one POST each, signed where a secret is named; redirects are not followed."""

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from catalog.settings import Settings
from catalog.webhooks.cloud_events import CONTENT_TYPES, SIGNATURE, sign_body
from catalog.webhooks.receiver_addresses import reach_of
from catalog.webhooks.records import Subscription
from oci.errors import RemoteUnavailable, SettingsInvalid
from oci.remote.network.backends import GuardedBackend, set_backend
from oci.remote.network.loopback import is_loopback
from oci.remote.network.reach import Reach

_WITHIN = 30.0
"""Seconds that one delivery may take in all."""
_READ_AT_MOST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Receivers:
    """The connections to subscribers: those on this machine are never reached by a proxy, and `guarded` goes no further than
    `reach`, by whatever name."""

    near: httpx.AsyncClient
    far: httpx.AsyncClient
    guarded: httpx.AsyncClient
    reach: Reach

    def client(self, host: str, *, internal: bool) -> httpx.AsyncClient:
        """Return the client for a host; raise RemoteRefused for an internal host that is not allowed."""
        if not internal:
            self.reach.check_name(host)
        if is_loopback(host):
            return self.near
        return self.far if internal else self.guarded

    async def deliver(self, subscription: Subscription, body: bytes) -> int:
        """POST a body and return the status, 2xx; raise RemoteUnavailable with the reason, SettingsInvalid without a secret."""
        key = await asyncio.to_thread(read_key, subscription, os.environ)
        headers = {"Content-Type": CONTENT_TYPES[subscription.format], "User-Agent": "entrepot"}
        if key is not None:
            headers[SIGNATURE] = sign_body(body, key)
        parts = urlsplit(subscription.url)
        host = parts.hostname or ""
        try:
            async with asyncio.timeout(_WITHIN):
                client = self.client(host, internal=subscription.internal)
                async with client.stream("POST", subscription.url, content=body, headers=headers) as answer:
                    read = 0
                    async for part in answer.aiter_raw():
                        read += len(part)
                        if read > _READ_AT_MOST:
                            break
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise RemoteUnavailable(str(error) or type(error).__name__, registry=parts.netloc) from None
        if not answer.is_success:
            raise RemoteUnavailable(
                f"answered {answer.status_code}{' (redirects are not followed)' if answer.is_redirect else ''}",
                registry=parts.netloc,
                status=answer.status_code,
                retry_after=_seconds(answer.headers.get("retry-after")),
            )
        return answer.status_code

    async def close(self) -> None:
        """End the connections."""
        for client in (self.near, self.far, self.guarded):
            await client.aclose()


def open_receivers(settings: Settings) -> Receivers:
    """Return the clients for receivers, with the trust settings of upstreams; reads certificates."""
    verify = ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else ssl.create_default_context()
    timeout = httpx.Timeout(_WITHIN, connect=settings.connect_timeout)
    near = httpx.AsyncClient(verify=verify, timeout=timeout, trust_env=False)
    far, guarded = (httpx.AsyncClient(verify=verify, timeout=timeout, proxy=settings.proxy or None) for _ in range(2))
    reach = reach_of(settings)
    set_backend(guarded, GuardedBackend(reach))
    return Receivers(near, far, guarded, reach)


def read_key(subscription: Subscription, environment: Mapping[str, str]) -> bytes | None:
    """Read the secret that signs; None where none is named. Raises SettingsInvalid, without the secret."""
    if subscription.secret_env:
        found = environment.get(subscription.secret_env, "")
        where = f"the variable {subscription.secret_env}"
    elif subscription.secret_file:
        where = f"the file {subscription.secret_file}"
        try:
            found = Path(subscription.secret_file).read_text().strip()
        except (OSError, ValueError) as error:
            raise SettingsInvalid(f"the subscription's secret cannot be read from {where}: {error}") from None
    else:
        return None
    if not found:
        raise SettingsInvalid(f"the subscription's secret is missing: {where} is empty")
    return found.encode()


def _seconds(text: str | None) -> float | None:
    return min(float(text), 3600.0) if text and text.isdecimal() else None
