"""What a remote answered: bounded bodies, its own words in errors, when it asks us to come back."""

import email.utils
import json
from collections.abc import Iterator

import httpx

from oci.errors import RemoteCorrupt, RemoteUnavailable

_MESSAGE_CHARACTERS = 300


def unavailable(error: httpx.TransportError, host: str) -> RemoteUnavailable:
    """The error for a connection that failed."""
    if isinstance(error, httpx.ConnectTimeout):
        return RemoteUnavailable("cannot be reached in time; check the address and the network", registry=host)
    if isinstance(error, httpx.TimeoutException):
        return RemoteUnavailable("was silent for too long (ENTREPOT_READ_TIMEOUT)", registry=host)
    if isinstance(error, httpx.ConnectError):
        return RemoteUnavailable(f"cannot be reached: {error}", registry=host)
    return RemoteUnavailable(f"broke off: {error or type(error).__name__}", registry=host)


async def read_bounded(response: httpx.Response, limit: int, host: str) -> None:
    """Read the body into `response.content`; raise RemoteCorrupt beyond `limit` bytes."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise RemoteCorrupt(f"sent more than {limit} bytes for {response.request.url.path}", registry=host)
    response._content = bytes(body)  # noqa: SLF001  # httpx has no bounded read of its own


async def said_by(response: httpx.Response) -> str:
    """The messages of the error document, bounded; empty where there is none."""
    try:
        await read_bounded(response, 64 * 1024, "")
        text = "; ".join(filter(None, words_of(json.loads(response.content))))
    except (RemoteCorrupt, httpx.TransportError, ValueError, TypeError, AttributeError, RecursionError):
        return ""
    return "".join(character for character in text if character.isprintable())[:_MESSAGE_CHARACTERS]


def words_of(document: object) -> Iterator[str]:
    """What an error document says: a registry's `errors`, or a management API's `detail` and faults by field.

    Source: distribution-spec, "Error Codes"; Django REST framework, "Exceptions", which Pulp's API answers by.
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
            said = " ".join(texts).strip()
            yield said if name in ("detail", "non_field_errors") else f"{name}: {said}"


def parse_retry_after(value: str | None, *, now: float) -> float | None:
    """Seconds to wait, from a number or an HTTP date; None for neither. Source: RFC 9110 section 10.2.3."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (TypeError, ValueError):
        return None
