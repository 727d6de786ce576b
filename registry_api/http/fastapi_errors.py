"""Errors of FastAPI's routes, in the same JSON as those of `/v2`."""

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from oci.errors import EntrepotError, InvalidInput, Unsupported
from registry_api.http.errors import RouteUnknown, error_response, row_of


def fastapi_error_response(error: EntrepotError, *of_401: tuple[bytes, str], allow: str = "") -> Response:
    """Return the response to an error; the headers `of_401` go with a 401 alone."""
    pairs = list(of_401) if row_of(type(error)).status == 401 else []
    if allow:
        pairs.append((b"allow", allow))
    answer = error_response(error, *pairs)
    return Response(
        answer.body, answer.status, {key.decode(): value.decode("latin-1") for key, value in answer.headers}
    )


async def respond_invalid(_request: Request, error: Exception) -> Response:
    """Return the response to a request that does not validate: its first faults, each with the field."""
    assert isinstance(error, RequestValidationError)
    faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
    return fastapi_error_response(InvalidInput(faults))


async def respond_unrouted(request: Request, error: Exception) -> Response:
    """Return the response to a path or a method without a route."""
    assert isinstance(error, HTTPException)
    path = request.scope["path"][:300]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return fastapi_error_response(
            Unsupported(f"{path!r} takes {allowed}, not {request.method[:50]}"), allow=allowed
        )
    if error.status_code == 404:
        return fastapi_error_response(RouteUnknown(path))
    return fastapi_error_response(InvalidInput(str(error.detail)))
