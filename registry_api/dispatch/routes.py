"""The route table of /v2 and its extensions, and how a path is matched: from the right, since names have parts like `blobs`."""

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from catalog.access.policy import Action
from oci.reference import parse_name
from registry_api.context import Registry
from registry_api.http.errors import RouteUnknown
from registry_api.http.messages import RoutedRequest, Sendable, WholeResponse, json_response
from registry_api.v2.atomic_signatures import SUPPORTED, get_lookaside_signature, get_signatures, put_signature
from registry_api.v2.blobs import get_blob, head_blob
from registry_api.v2.deletions import delete_blob, delete_manifest
from registry_api.v2.listings import get_repositories, get_tags
from registry_api.v2.manifest_pushes import put_manifest
from registry_api.v2.manifests import get_manifest, head_manifest
from registry_api.v2.referrers import get_referrers
from registry_api.v2.uploads import delete_upload, get_upload, patch_upload, post_upload, put_upload

Handler = Callable[[Registry, RoutedRequest], Awaitable[Sendable]]


class Endpoint(NamedTuple):
    """The handler of one method of one path, and the right it needs."""

    action: Action
    handler: Handler


async def ping(_registry: Registry, _request: RoutedRequest) -> WholeResponse:
    """Respond to a caller with a login or an anonymous token that this is a registry; clients learn here how to log in."""
    return json_response(b"{}", SUPPORTED)


BASE = "/v2/"
CATALOG = "/v2/_catalog"
TAGS = "/v2/{name}/tags/list"
MANIFEST = "/v2/{name}/manifests/{reference}"
BLOB = "/v2/{name}/blobs/{digest}"
UPLOADS = "/v2/{name}/blobs/uploads/"
UPLOAD = "/v2/{name}/blobs/uploads/{session}"
REFERRERS = "/v2/{name}/referrers/{digest}"
SIGNATURES = "/extensions/v2/{name}/signatures/{digest}"
LOOKASIDE_ROOT = "/sigstore/"
LOOKASIDE = "/sigstore/{name}@{digest}/signature-{number}"

ROUTES: Mapping[str, Mapping[str, Endpoint]] = {
    BASE: {"GET": Endpoint("pull", ping), "HEAD": Endpoint("pull", ping)},
    CATALOG: {"GET": Endpoint("pull", get_repositories)},
    TAGS: {"GET": Endpoint("pull", get_tags)},
    MANIFEST: {
        "GET": Endpoint("pull", get_manifest),
        "HEAD": Endpoint("pull", head_manifest),
        "PUT": Endpoint("push", put_manifest),
        "DELETE": Endpoint("delete", delete_manifest),
    },
    BLOB: {
        "GET": Endpoint("pull", get_blob),
        "HEAD": Endpoint("pull", head_blob),
        "DELETE": Endpoint("delete", delete_blob),
    },
    UPLOADS: {"POST": Endpoint("push", post_upload)},
    UPLOAD: {
        "GET": Endpoint("push", get_upload),
        "PATCH": Endpoint("push", patch_upload),
        "PUT": Endpoint("push", put_upload),
        "DELETE": Endpoint("push", delete_upload),
    },
    REFERRERS: {"GET": Endpoint("pull", get_referrers)},
    SIGNATURES: {"GET": Endpoint("pull", get_signatures), "PUT": Endpoint("push", put_signature)},
    LOOKASIDE: {
        "GET": Endpoint("pull", get_lookaside_signature),
        "HEAD": Endpoint("pull", get_lookaside_signature),
    },
}


class Match(NamedTuple):
    """A row of ROUTES and the parts of the path; `name` is not checked yet."""

    pattern: str
    name: str = ""
    reference: str = ""


_LOOKASIDE = re.compile(r"/sigstore/(.+)@(sha256|sha512)=([0-9a-f]{64,128})/signature-[1-9][0-9]{0,3}", re.DOTALL)
_BY_NOUN = {"manifests": MANIFEST, "blobs": BLOB, "referrers": REFERRERS}


def match_path(path: str) -> Match:
    """Return the row of a decoded path; raise RouteUnknown."""
    head, _, reference = path.rpartition("/")
    head, _, noun = head.rpartition("/")
    if head.startswith("/extensions/v2/") and noun == "signatures" and reference:
        return Match(SIGNATURES, head.removeprefix("/extensions/v2/"), reference)
    pattern = _BY_NOUN.get(noun)
    name = head[4:]
    if pattern is None or (noun == "blobs" and reference == "uploads"):
        return _match_others(path, head, noun, reference)
    if not reference or not name or not head.startswith("/v2/"):
        raise RouteUnknown(path)
    return Match(pattern, name, reference)


def _match_others(path: str, head: str, noun: str, reference: str) -> Match:
    if path in {"/v2/", "/v2"}:
        return Match(BASE)
    if lookaside := _LOOKASIDE.fullmatch(path):
        return Match(LOOKASIDE, lookaside[1], f"{lookaside[2]}:{lookaside[3]}")
    if path == CATALOG:
        return Match(CATALOG)
    if head.startswith("/v2/") and len(head) > 4:
        if noun == "tags" and reference == "list":
            return Match(TAGS, head[4:])
        if noun == "blobs":
            return Match(UPLOADS, head[4:])
        name = head[4:].removesuffix("/blobs")
        if noun == "uploads" and name and head.endswith("/blobs") and head != "/v2/blobs":
            return Match(UPLOAD, name, reference) if reference else Match(UPLOADS, name)
    raise RouteUnknown(path)


checked_name = lru_cache(maxsize=4096)(parse_name)
"""parse_name with a cache of valid names; raises NameInvalid."""
