"""Header names as their specifications spell them, since some clients require that spelling.

uvicorn writes all names in lower case; those of HTTP itself stay so, which every client accepts.
Source: distribution-spec 1.1; containers/image, docs/signature-protocols.md.
"""

_AS_WRITTEN = (
    "Docker-Content-Digest",
    "Docker-Distribution-API-Version",
    "Docker-Upload-UUID",
    "OCI-Chunk-Min-Length",
    "OCI-Filters-Applied",
    "OCI-Namespace",
    "OCI-Subject",
    "OCI-Tag",
    "WWW-Authenticate",
    "X-Registry-Supports-Signatures",
)
_NAMES = tuple((f"\r\n{name.lower()}:".encode(), f"\r\n{name}:".encode()) for name in _AS_WRITTEN)


def spelled(head: bytes) -> bytes:
    """Return the head of a response with its names spelled as specified; no value contains a line break."""
    for sent, written in _NAMES:
        head = head.replace(sent, written)
    return head
