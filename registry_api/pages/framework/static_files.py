"""Files that pages load: style sheet, script and icon, at paths that change with their bytes, so that browsers may keep them."""

import hashlib
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Response

from registry_api.http.errors import RouteUnknown
from registry_api.http.fastapi_errors import fastapi_error_response
from registry_api.pages.framework.responses import SECURITY_HEADERS

_FOLDER = Path(__file__).parent.with_name("static")
MEDIA_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
router = APIRouter(include_in_schema=False)


@lru_cache
def _read(name: str) -> tuple[bytes, str]:
    raw = (_FOLDER / name).read_bytes()
    return raw, hashlib.blake2b(raw, digest_size=8).hexdigest()


def static_path(name: str) -> str:
    """Return the path of a file as it is now."""
    return f"/static/{_read(name)[1]}/{name}"


@router.get("/static/{mark}/{name}")
def get_static(mark: str, name: str) -> Response:
    """Return a file; under a mark of former bytes it is not kept."""
    if name not in MEDIA_TYPES:
        return fastapi_error_response(RouteUnknown(f"/static/{mark[:50]}/{name[:50]}"))
    raw, current = _read(name)
    kept = "public, max-age=31536000, immutable" if mark == current else "no-cache"
    return Response(raw, headers={**SECURITY_HEADERS, "cache-control": kept}, media_type=MEDIA_TYPES[name])
