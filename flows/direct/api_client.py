"""Requests to a Prefect server, without Prefect's own client: its import takes a second."""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from catalog.prefect.address import PrefectAddress
from catalog.prefect.client_options import client_options
from catalog.settings import Settings
from flows.direct.find_server import raise_for_login
from oci.errors import LocalError

_WITHIN = 30.0
"""Seconds that a server has for one response."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_BUSY = frozenset({408, 425, 429})


class PrefectLost(LocalError):
    """Prefect's server went away for good while a flow ran."""

    retryable = True


class RequestRefused(LocalError):
    """Prefect's server does not take a request as things are. `retry_after` are the seconds that it names, 0 for none."""

    def __init__(self, message: str, status: int, retry_after: float) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class ApiClient:
    """One Prefect server: an async context manager. `patience` are the seconds for which it may be away."""

    def __init__(self, settings: Settings, api: PrefectAddress, environment: Mapping[str, str]) -> None:
        self.api, self.patience = api, settings.prefect_timeout
        self._client = httpx.AsyncClient(**client_options(settings, api, environment, seconds=_WITHIN))

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send one request; return the document of the response, None for an empty one. Fields of a body are left out, not null.

        Raises RequestRefused, and httpx.HTTPError where another try may help: no response, one of a busy server, or no JSON.
        """
        response = await self._client.request(method, path, json=body)  # None sends no body
        code = response.status_code
        raise_for_login(self.api, code)
        if code >= 500 or code in _BUSY:
            raise httpx.HTTPStatusError(f"status {code}", request=response.request, response=response)
        if not response.is_success:
            told = f"Prefect at {self.api.url} responded {code} to {method} {path}: {response.text[:300]}"
            raise RequestRefused(told, code, _seconds(response.headers.get("Retry-After")))
        try:
            return response.json() if response.content else None
        except ValueError:
            raise httpx.DecodingError(f"{path} is not JSON") from None

    async def insist(self, method: str, path: str, body: object = None) -> Any:
        """Send a request until the server takes it; raise PrefectLost once it has been away for too long, RequestRefused."""
        away_since, pause = 0.0, _FIRST_PAUSE
        while True:
            try:
                return await self.ask(method, path, body)
            except httpx.HTTPError as error:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since + pause > self.patience:
                    raise self.lost(error) from None
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def lost(self, error: Exception) -> PrefectLost:
        """Return what to say of a server that has been away for too long."""
        what = str(error) or type(error).__name__
        return PrefectLost(f"Prefect's server at {self.api.url} did not answer for {self.patience:.0f} s ({what})")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()


def _seconds(value: str | None) -> float:
    """Return what a Retry-After says in seconds; 0 for anything else."""
    try:
        return float(value or 0)
    except ValueError:
        return 0.0
