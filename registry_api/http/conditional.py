"""Conditional requests: content that the client has already is not sent again. Source: RFC 9110 section 13."""

from functools import lru_cache

from oci.digest import Digest
from registry_api.http.messages import API_VERSION, Headers, RoutedRequest


def is_unchanged(request: RoutedRequest, digest: Digest) -> bool:
    """Return whether the client has the content already (If-None-Match, RFC 9110 section 13.1.2)."""
    header = request.header(b"if-none-match")
    if header is None:
        return False
    known = [tag.strip().removeprefix("W/") for tag in header.decode("latin-1").split(",")]
    return f'"{digest}"' in known or known == ["*"]


@lru_cache(maxsize=1024)
def not_modified_headers(digest: Digest) -> Headers:
    """Return the headers of a 304."""
    return [API_VERSION, (b"docker-content-digest", digest.encode()), (b"etag", f'"{digest}"'.encode())]
