"""What goes into a handler and what comes out of it: a routed request, and an answer ready to be sent."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from catalog.access.policy import Caller
from oci.errors import InvalidInput

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as ASGI wants them."""

API_VERSION = (b"docker-distribution-api-version", b"registry/2.0")
_FIELDS_AT_MOST = 100


class Answer(NamedTuple):
    """A whole answer; an answer to HEAD keeps the Content-Length of the body it leaves out."""

    status: int
    headers: Headers
    body: bytes = b""

    async def send(self, send: Send, *, head: bool) -> None:
        """Send it, without the body to a HEAD."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


class Sendable(Protocol):
    """What a handler returns: an Answer, or something that streams."""

    async def send(self, send: Send, *, head: bool) -> None:
        """Send it, without the body to a HEAD."""
        ...


class Request(NamedTuple):
    """One request: `name` is the checked path of a distribution, `repository` what it leads to, `reference` the last part
    of the path, `caller` who asks."""

    name: str
    repository: str
    reference: str
    caller: Caller
    scope: Scope
    receive: Receive

    @property
    def user(self) -> str:
        """The name of who asks, empty for nobody."""
        return self.caller.account

    @property
    def path(self) -> str:
        """The path asked for, decoded."""
        path: str = self.scope["path"]
        return path

    @property
    def query(self) -> Mapping[str, list[str]]:
        """Query parameters, each with all its values; raise InvalidInput for a query of absurd length.

        A plus sign is one, as in `artifactType=application/spdx+json`: no value of the protocol has a blank in it.
        """
        raw: bytes = self.scope["query_string"]
        if not raw:
            return {}
        try:
            return parse_qs(
                raw.decode("latin-1").replace("+", "%2B"), keep_blank_values=True, max_num_fields=_FIELDS_AT_MOST
            )
        except ValueError:
            raise InvalidInput(f"a query has {_FIELDS_AT_MOST} parameters at most") from None

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None

    def header(self, name: bytes) -> bytes | None:
        """The value of a header, its name in lower case; several lines are joined by commas."""
        return find_header(self.scope, name)

    @property
    def content_length(self) -> int | None:
        """The announced length of the body in bytes; None for a chunked one."""
        return announced_length(self.scope)


def find_header(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header, its name in lower case; several lines are joined by commas."""
    found: bytes | None = None
    for key, value in scope["headers"]:
        if key == name:
            found = value if found is None else found + b", " + value
    return found


def announced_length(scope: Scope) -> int | None:
    """The announced length of the body in bytes; None for a chunked one. A header that is no number announces nothing."""
    value = find_header(scope, b"content-length")
    return int(value) if value is not None and value.isdigit() else None


def with_headers(*pairs: tuple[bytes, str]) -> list[tuple[bytes, bytes]]:
    """Headers of a /v2 answer."""
    return [API_VERSION, *((name, value.encode("latin-1")) for name, value in pairs)]


def empty_answer(status: int, *pairs: tuple[bytes, str]) -> Answer:
    """An answer that is all headers."""
    headers = with_headers(*pairs)
    if status not in (204, 304):
        headers.append((b"content-length", b"0"))
    return Answer(status, headers)


def json_answer(body: bytes, *pairs: tuple[bytes, str], status: int = 200) -> Answer:
    """An answer whose body is JSON already."""
    kind = (b"content-type", "application/json; charset=utf-8")
    return Answer(status, with_headers(kind, (b"content-length", str(len(body))), *pairs), body)


def warning_value(text: str) -> str:
    """The value of a Warning header. Source: distribution-spec, "Warnings"; RFC 9111 section 5.5."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'.encode("ascii", "replace").decode()
