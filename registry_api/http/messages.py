"""The input and output of a handler: a routed request, and a response ready to be sent."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from catalog.access.policy import Caller
from oci.errors import InvalidInput

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as ASGI wants them."""

API_VERSION = (b"docker-distribution-api-version", b"registry/2.0")
_JSON = (b"content-type", b"application/json; charset=utf-8")
_FIELDS_AT_MOST = 100
_WARNING_AT_MOST = 1000
"""Characters of the text of a warning."""


class WholeResponse(NamedTuple):
    """A response with its whole body; a response to HEAD keeps the Content-Length of the body it omits."""

    status: int
    headers: Headers
    body: bytes = b""

    async def send(self, send: Send, *, head: bool) -> None:
        """Send the response, to a HEAD without the body."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


class Sendable(Protocol):
    """The result of a handler: a WholeResponse, or a stream."""

    async def send(self, send: Send, *, head: bool) -> None:
        """Send the response, to a HEAD without the body."""
        ...


class RoutedRequest(NamedTuple):
    """One request: the checked path `name` of a distribution, the `repository` it serves, the path's last part `reference`,
    and the `caller`."""

    name: str
    repository: str
    reference: str
    caller: Caller
    scope: Scope
    receive: Receive

    @property
    def user(self) -> str:
        """Return the caller's account, empty for an anonymous one."""
        return self.caller.account

    @property
    def path(self) -> str:
        """Return the requested path, decoded."""
        path: str = self.scope["path"]
        return path

    @property
    def query(self) -> Mapping[str, list[str]]:
        """Return the query parameters, each with all its values; raise InvalidInput for too many.

        A plus sign stays one, as in `artifactType=application/spdx+json`: no value of the protocol contains a blank.
        """
        raw: bytes = self.scope["query_string"]
        if not raw:
            return {}
        try:
            return parse_qs(
                raw.decode("latin-1").replace("+", "%2B"), keep_blank_values=True, max_num_fields=_FIELDS_AT_MOST
            )
        except ValueError:
            raise InvalidInput(f"invalid query: expected at most {_FIELDS_AT_MOST} parameters") from None

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header, its name in lower case; several lines are joined by commas."""
        return find_header(self.scope, name)

    @property
    def content_length(self) -> int | None:
        """Return the announced length of the body in bytes; None for a chunked one."""
        return announced_length(self.scope)


def find_header(scope: Scope, name: bytes) -> bytes | None:
    """Return the value of a header, its name in lower case; several lines are joined by commas."""
    joined: bytes | None = None
    for key, value in scope["headers"]:
        if key == name:
            joined = value if joined is None else joined + b", " + value
    return joined


def announced_length(scope: Scope) -> int | None:
    """Return the announced length of the body in bytes; None for a chunked one, and for a header that is not a number."""
    value = find_header(scope, b"content-length")
    return int(value) if value is not None and value.isdigit() else None


def with_headers(*pairs: tuple[bytes, str]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a /v2 response."""
    return [API_VERSION, *_encoded(pairs)]


def _encoded(pairs: Sequence[tuple[bytes, str]]) -> list[tuple[bytes, bytes]]:
    return [(name, value.encode("latin-1")) for name, value in pairs]


def empty_response(status: int, *pairs: tuple[bytes, str]) -> WholeResponse:
    """Return a response without a body."""
    headers = with_headers(*pairs)
    if status not in (204, 304):
        headers.append((b"content-length", b"0"))
    return WholeResponse(status, headers)


def json_response(body: bytes, *pairs: tuple[bytes, str], status: int = 200) -> WholeResponse:
    """Return a response with a JSON body."""
    headers = [API_VERSION, _JSON, (b"content-length", b"%d" % len(body)), *_encoded(pairs)]
    return WholeResponse(status, headers, body)


def warning_value(text: str) -> str:
    """Return the value of a Warning header, of any text: one line of ASCII. Source: distribution-spec, "Warnings"; RFC 9111
    section 5.5."""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text[:_WARNING_AT_MOST])
    quoted = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'
