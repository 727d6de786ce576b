"""The one table from error classes to HTTP statuses, and the answers made of it. Source: distribution-spec, "Error Codes"."""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from oci import errors
from oci.errors import EntrepotError
from registry_api.http.messages import Answer, json_answer


class RouteUnknown(errors.NotFound):
    """No route has this path."""

    code = "UNSUPPORTED"

    def __init__(self, path: str) -> None:
        super().__init__(f"no route {path[:300]!r}")


class ChildLeftOut(errors.ManifestUnknown):
    """An index here names the manifest, and its repository was made without it; the answer has a warning that says so."""


class RequestStalled(errors.UploadInvalid):
    """The client stopped sending in mid-body."""


class Stopping(errors.LocalError):
    """The server is told to stop before a request is done."""


class TooManyTags(errors.InvalidInput):
    """A push asks for more tags than one request may set."""

    code = "TAG_INVALID"


class BodyTooLarge(errors.InvalidInput):
    """A request's body is larger than its route takes."""

    code = "SIZE_INVALID"


class NotAcceptable(errors.InvalidInput):
    """The client takes no form that the answer can be given in."""


_STATUSES: Mapping[type[EntrepotError], int] = {
    errors.EntrepotError: 500,
    errors.RequestError: 400,
    errors.InvalidInput: 400,
    errors.ManifestTooLarge: 413,
    errors.BlobTooLarge: 413,
    errors.RangeInvalid: 416,
    RequestStalled: 408,
    TooManyTags: 414,
    BodyTooLarge: 413,
    NotAcceptable: 406,
    errors.Unsupported: 405,
    errors.Unauthorized: 401,
    errors.Denied: 403,
    errors.TooManyRequests: 429,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.InUse: 409,
    errors.RemoteError: 502,
    errors.RemoteUnavailable: 503,
    errors.RemoteRateLimited: 429,
    errors.RemoteNotFound: 404,
    errors.RemoteLoop: 508,
    errors.LocalError: 500,
    errors.StorageFull: 507,
    errors.StorageUnavailable: 503,
    errors.CatalogUnusable: 503,
    Stopping: 503,
}

_SAID_OF_LOCAL: Mapping[type[EntrepotError], str] = {
    errors.StorageFull: "this registry has no room left",
    errors.StorageCorrupt: "this registry lost the content, or it is damaged",
    errors.StorageUnavailable: "this registry's storage cannot be reached now",
    errors.CatalogUnusable: "this registry's catalogue cannot be used now",
    Stopping: "this registry is being stopped; try again in a moment",
}
"""What is told of our own failures instead of their messages, which name files of ours and go to the log."""


class Row(NamedTuple):
    """What a class of errors is answered with."""

    status: int
    code: str


def _nearest(kind: type[EntrepotError]) -> type[EntrepotError]:
    return next(parent for parent in kind.__mro__ if parent in _STATUSES)


def row_of(kind: type[EntrepotError]) -> Row:
    """Status and code of a class: the status of the nearest class in the table, the code that the class carries."""
    return Row(_STATUSES[_nearest(kind)], kind.code)


def error_classes() -> Iterator[type[EntrepotError]]:
    """Every class of the error tree."""
    waiting: list[type[EntrepotError]] = [EntrepotError]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        yield kind


def is_ours(error: EntrepotError) -> bool:
    """Whether we are at fault, so that the message is for the log and not for the client."""
    return error.side == "local"


def public_message(error: EntrepotError) -> str:
    """What a client may read of an error."""
    if not is_ours(error):
        return error.message
    for kind in type(error).__mro__:
        if kind in _SAID_OF_LOCAL:
            return _SAID_OF_LOCAL[kind]
    return "this registry failed"


def error_answer(error: EntrepotError, *pairs: tuple[bytes, str], reference: str = "") -> Answer:
    """The JSON answer to an error; `reference` is the name under which the log tells more."""
    status, code = row_of(type(error))
    headers = list(pairs)
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(retry_after)))))
    detail = {} if is_ours(error) else error.detail
    return _answer(status, code, public_message(error), detail, headers, reference)


def internal_answer(reference: str) -> Answer:
    """The answer to what nobody foresaw."""
    return _answer(500, EntrepotError.code, "this registry failed", {}, [], reference)


def _answer(
    status: int,
    code: str,
    message: str,
    detail: Mapping[str, object],
    headers: list[tuple[bytes, str]],
    reference: str,
) -> Answer:
    if reference:
        message = f"{message}; the log tells more under {reference}"
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}, default=str)
    return json_answer(body.encode(), *headers, status=status)
