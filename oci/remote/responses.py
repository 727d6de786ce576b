"""Responses of a remote: bounded bodies, messages of errors, and when to try again."""

import email.utils
import json
import time
from collections.abc import Callable, Iterator

import httpx

from oci.errors import (
    RemoteCorrupt,
    RemoteError,
    RemoteLeftOut,
    RemoteLoop,
    RemoteNotFound,
    RemoteRateLimited,
    RemoteRefused,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from oci.remote.decoding import decoded
from oci.remote.network.hops import LOOP
from oci.remote.omitted_children import read_left_out

_MESSAGE_CHARACTERS = 300
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


def unavailable(error: httpx.TransportError, host: str) -> RemoteUnavailable:
    """Return the error for a connection that failed."""
    if isinstance(error, httpx.ConnectTimeout):
        return RemoteUnavailable("cannot be reached in time; check the address and the network", registry=host)
    if isinstance(error, httpx.TimeoutException):
        return RemoteUnavailable("was silent for too long (ENTREPOT_READ_TIMEOUT)", registry=host)
    if isinstance(error, httpx.ConnectError):
        return RemoteUnavailable(f"cannot be reached: {error}", registry=host)
    return RemoteUnavailable(f"broke off: {error or type(error).__name__}", registry=host)


async def read_bounded(
    response: httpx.Response, limit: int, host: str, heard: Callable[[], None] = lambda: None
) -> None:
    """Read the body, decoded, into `response.content`; raise RemoteCorrupt beyond `limit` bytes. `heard` is called often."""
    body = bytearray()
    async for piece in decoded(response, host):
        heard()
        body += piece
        if len(body) > limit:
            raise RemoteCorrupt(f"sent more than {limit} bytes for {response.request.url.path[:200]}", registry=host)
    response._content = bytes(body)  # noqa: SLF001  # httpx has no bounded read of its own


def failure_of(response: httpx.Response, text: str, *, method: str, path: str, host: str) -> RemoteError:
    """Return the error for a response of 400 and above; `text` is the registry's message, empty where another host responded."""
    status = response.status_code
    if status == 508:  # without a body where it responds to HEAD
        text = LOOP
    left_out = read_left_out(response.headers.get_list("warning"))
    text = left_out or text
    message = f"{method} {path[:300]} answered {status}{': ' + text if text else ''}"
    retry_after = parse_retry_after(response.headers.get("retry-after"), now=time.time())
    kind = _kind_of(status)
    if kind is RemoteNotFound and left_out:
        kind = RemoteLeftOut
    return kind(message, registry=host, status=status, retry_after=retry_after)


def _kind_of(status: int) -> type[RemoteError]:
    if status in (401, 403):
        return RemoteUnauthorized
    if status in (404, 410):
        return RemoteNotFound
    if status == 429:
        return RemoteRateLimited
    if status == 508:
        return RemoteLoop
    return RemoteUnavailable if is_passing(status) else RemoteRefused


def is_inconclusive(error: RemoteError) -> bool:
    """Return whether a failed HEAD leaves open what a GET would get: HEAD is not allowed, or is sent on to where it is not."""
    if isinstance(error, RemoteLoop):
        return False
    return isinstance(error, RemoteRefused) or error.status in (403, 500)


def is_passing(status: int) -> bool:
    """Return whether a failure may be over with the next try."""
    return status in (408, 429) or (status >= 500 and status not in (501, 505, 508))


async def error_text(response: httpx.Response) -> str:
    """Return the messages of the error document, bounded; empty where there is none."""
    try:
        await read_bounded(response, 64 * 1024, "")
        text = "; ".join(filter(None, error_messages(json.loads(response.content))))
    except (RemoteCorrupt, httpx.TransportError, ValueError, TypeError, AttributeError, RecursionError):
        return ""
    return "".join(character for character in text if character.isprintable())[:_MESSAGE_CHARACTERS]


def error_messages(document: object) -> Iterator[str]:
    """Yield the messages of an error document: a registry's `errors`, or a management API's `detail` and faults by field.

    Source: distribution-spec, "Error Codes"; Django REST framework, "Exceptions", which Pulp's API follows.
    """
    if not isinstance(document, dict):
        return
    if isinstance(document.get("errors"), list):
        for error in document["errors"]:
            yield f"{error.get('code', '')} {error.get('message', '')}".strip()
        return
    for name, found in document.items():
        texts = [text for text in (found if isinstance(found, list) else [found]) if isinstance(text, str)]
        if texts and (isinstance(found, list) or name == "detail"):
            message = " ".join(texts).strip()
            yield message if name in ("detail", "non_field_errors") else f"{name}: {message}"


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Return seconds to wait, from a number or an HTTP date; None for neither. Source: RFC 9110 section 10.2.3."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (TypeError, ValueError):
        return None


def pause_before_retry(attempt: int, error: RemoteError, jitter: float) -> float:
    """Return seconds before the next attempt: what the remote asks for, else exponential with full jitter (0 to 1)."""
    if error.retry_after is not None:
        return error.retry_after + jitter
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**attempt) * jitter
