"""The one table from error classes to HTTP statuses, and the responses made from it. Source: distribution-spec, "Error Codes"."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from oci import errors
from oci.errors import EntrepotError
from registry_api.http.messages import WholeResponse, json_response


class RouteUnknown(errors.NotFound):
    """No route has this path."""

    code = "UNSUPPORTED"

    def __init__(self, path: str) -> None:
        super().__init__(f"no route {path[:300]!r}")


class ChildLeftOut(errors.ManifestUnknown):
    """An index here names the manifest, and its repository was synced without it; the response has a warning."""


class SignatureUnknown(errors.NotFound):
    """The lookaside tree has no such signature, or hides it: a private repository looks like an absent one."""

    code = "MANIFEST_UNKNOWN"


class RequestStalled(errors.UploadInvalid):
    """The client stopped sending in mid-body."""


class Stopping(errors.LocalError):
    """The server stops before a request is done."""


class TooManyTags(errors.InvalidInput):
    """A push sets more tags than one request may set."""

    code = "TAG_INVALID"


class BodyTooLarge(errors.InvalidInput):
    """A request's body is larger than its route takes."""

    code = "SIZE_INVALID"


class NotAcceptable(errors.InvalidInput):
    """The client accepts none of the available formats."""


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

_PUBLIC_MESSAGES: Mapping[type[EntrepotError], str] = {
    errors.StorageFull: "this registry has no storage space left",
    errors.StorageCorrupt: "this registry's copy of the content is missing or corrupt",
    errors.StorageUnavailable: "this registry's storage is unavailable",
    errors.CatalogUnusable: "this registry's catalogue is unavailable",
    errors.CatalogWentBack: "the catalogue went back to an earlier state, as after a restore; restart this registry",
    errors.CatalogMoved: "this registry's catalogue has moved to another place; content can be pulled here, and not changed",
    Stopping: "this registry is stopping; try again in a moment",
}
"""Messages of local failures for clients. The original messages name local files, and go to the log."""


_OURS_AGAIN = 2.0
"""Seconds after which clients may try again what our database or storage did not answer."""


class Row(NamedTuple):
    """The status and code of a class of errors."""

    status: int
    code: str


_ROWS: dict[type[EntrepotError], Row] = {}
"""The rows found so far: there are as many as classes of errors."""


def _nearest(kind: type[EntrepotError]) -> type[EntrepotError]:
    return next(parent for parent in kind.__mro__ if parent in _STATUSES)


def row_of(kind: type[EntrepotError]) -> Row:
    """Return the status of the nearest class in the table, and the class's own code."""
    row = _ROWS.get(kind)
    if row is None:
        row = _ROWS[kind] = Row(_STATUSES[_nearest(kind)], kind.code)
    return row


def is_ours(error: EntrepotError) -> bool:
    """Return whether the failure is local, so that its message is for the log and not for the client."""
    return error.side == "local"


def public_message(error: EntrepotError) -> str:
    """Return the message of an error that a client may read."""
    if not is_ours(error):
        return error.message
    for kind in type(error).__mro__:
        if kind in _PUBLIC_MESSAGES:
            return _PUBLIC_MESSAGES[kind]
    return "this registry failed"


def error_response(error: EntrepotError, *pairs: tuple[bytes, str], reference: str = "") -> WholeResponse:
    """Return the JSON response to an error; `reference` identifies the log entry with the details."""
    status, code = row_of(type(error))
    headers = list(pairs)
    retry_after = getattr(error, "retry_after", None)
    if retry_after is None and is_ours(error) and error.retryable:
        retry_after = _OURS_AGAIN
    if retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(retry_after)))))
    detail = {} if is_ours(error) else error.detail
    return _response(status, code, public_message(error), detail, headers, reference)


def internal_error_response(reference: str) -> WholeResponse:
    """Return the response to an unexpected exception."""
    return _response(500, EntrepotError.code, "this registry failed", {}, [], reference)


def _response(
    status: int,
    code: str,
    message: str,
    detail: Mapping[str, object],
    headers: list[tuple[bytes, str]],
    reference: str,
) -> WholeResponse:
    if reference:
        message = f"{message}; see the log under {reference}"
    # By hand, since this is on the way of every miss, and most have no detail.
    details = json.dumps(detail, default=str) if detail else "{}"
    body = f'{{"errors": [{{"code": "{code}", "message": {json.dumps(message)}, "detail": {details}}}]}}'
    return json_response(body.encode(), *headers, status=status)
