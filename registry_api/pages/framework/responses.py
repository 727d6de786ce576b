"""What every page's response has: headers for browsers, a validator for anonymous ones, and errors as a page."""

import hashlib
from collections.abc import Mapping
from urllib.parse import quote

from starlette.responses import Response

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": _POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""The headers of every response that a browser may show. The policy allows nothing inline and no other host."""

_VARIES = "Accept, Authorization, Cookie, HX-Request"
HTML, JSON = "text/html; charset=utf-8", "application/json; charset=utf-8"


def page_response(
    body: str, *, media_type: str = HTML, status: int = 200, is_private: bool, if_none_match: str = ""
) -> Response:
    """Return a page. What a caller alone may see is stored nowhere; what anybody sees is stored and asked for again."""
    raw = body.encode()
    headers = {**SECURITY_HEADERS, "vary": _VARIES, "cache-control": "no-store" if is_private else "no-cache"}
    if not is_private and status == 200:
        headers["etag"] = f'"{hashlib.blake2b(raw, digest_size=16).hexdigest()}"'
        if headers["etag"] in if_none_match:
            return Response(status_code=304, headers=headers)
    return Response(raw, status, headers, media_type)


def redirect_response(path: str, *, fragment: str = "") -> Response:
    """Return a redirect to a page of ours, after a form was taken; `fragment` names an element of it."""
    location = quote(path, safe="/:@!$&'()*+,;=?%~")  # a name in it may have any character
    location += f"#{quote(fragment, safe='')}" if fragment else ""
    return Response(status_code=303, headers={**SECURITY_HEADERS, "location": location, "cache-control": "no-store"})
