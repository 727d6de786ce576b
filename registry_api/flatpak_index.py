"""The image index of flatpak clients: the tags of public distributions that are images with certain labels.

Source: "flatpak-indexer" and Flatpak's OCI remotes: `/index/static`, and the same at `/index/dynamic`.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from fastapi import APIRouter, Request, Response

from catalog.access.policy import NOBODY
from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.query.images import ImageFilter, ImageRow
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import EntrepotError
from registry_api.context import CurrentRegistry
from registry_api.http.fastapi_errors import fastapi_error_response
from registry_api.http.response_cache import body_size

Images = Mapping[Digest, ImageRow]
_KINDS = ("label", "annotation")


router = APIRouter(prefix="/index", tags=["index"])


@router.get("/static")
@router.get("/dynamic")
async def image_index(request: Request, registry: CurrentRegistry) -> Response:
    """List images by `repository`, `tag`, `os`, `architecture`, `label:KEY`, `label:KEY:exists=1`, or by `annotation`.

    A parameter may be repeated; one of its values must match. Unknown parameters are ignored, as clients expect.
    """
    query: dict[str, list[str]] = defaultdict(list)
    for name, value in request.query_params.multi_items():
        query[name].append(value)
    key = ("index", tuple(sorted((name, tuple(values)) for name, values in query.items())))

    gates = registry.gates

    def find_passing(path: str) -> Snapshot | None:
        found = registry.catalog.serving.find(path)
        view = gates.find(path, path, found) if found is not None and gates.active else None
        return found if view is None else view.snapshot

    async def make() -> bytes:
        return await registry.threads.make(render_image_index, registry.catalog, query, find_passing)

    try:
        await registry.find_distribution("")
        cost_key = registry.cost_key(NOBODY, request.scope)
        # Time changes what passes a gate: then the index is at most a minute old.
        state = registry.catalog.serving.state, gates.stamp, gates.active and registry.now().timestamp() // 60
        body = await registry.responses.get(key, state, cost_key, make, body_size)
    except EntrepotError as error:
        return fastapi_error_response(error)
    etag = f'"{hashlib.sha256(body).hexdigest()}"'
    headers = {"etag": etag, "cache-control": "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def parse_filter(query: Mapping[str, Sequence[str]]) -> ImageFilter:
    """Return the image filter of a query; it ignores other parameters."""
    conditions: dict[str, dict[str, tuple[str, ...]]] = {kind: {} for kind in _KINDS}
    for name, values in query.items():
        kind, _, key = name.partition(":")
        if kind not in _KINDS or not key:
            continue
        if key.endswith(":exists"):
            conditions[kind].setdefault(key.removesuffix(":exists"), ())
        else:
            conditions[kind][key] = tuple(values)
    return ImageFilter(
        tuple(query.get("os", ())), tuple(query.get("architecture", ())), conditions["label"], conditions["annotation"]
    )


def render_image_index(
    catalog: Catalog, query: Mapping[str, Sequence[str]], find_served: Callable[[str], Snapshot | None]
) -> bytes:
    """Return the index as JSON; each distribution that serves a matching image is one result. `find_served` returns what it
    serves."""
    catalog.snapshots.refresh()
    images: dict[str, dict[Digest, ImageRow]] = defaultdict(dict)
    for row in catalog.query.images(parse_filter(query)):
        images[row.repository][row.digest] = row
    results: list[dict[str, object]] = []
    for served in catalog.distributions.all():
        if (
            not served.private
            and not served.remote
            and served.repository in images
            and served.path in query.get("repository", [served.path])
        ):
            results += _result(catalog, served, find_served(served.path), images[served.repository], query.get("tag"))
    return json.dumps({"Registry": "/", "Results": results}).encode()


def _result(
    catalog: Catalog, served: Distribution, snapshot: Snapshot | None, images: Images, tags: Sequence[str] | None
) -> list[dict[str, object]]:
    if snapshot is None:
        return []
    tagged: dict[Digest, list[str]] = defaultdict(list)
    for tag in snapshot.sorted_tags:
        if tags is None or tag in tags:
            tagged[snapshot.tags[tag]].append(tag)
    single = [_image(images[digest], names) for digest, names in tagged.items() if digest in images]
    lists = _lists(catalog, snapshot, images, tagged)
    return [{"Name": served.path, "Images": single, "Lists": lists}] if single or lists else []


def _lists(
    catalog: Catalog, snapshot: Snapshot, images: Images, tagged: Mapping[Digest, list[str]]
) -> list[dict[str, object]]:
    indexes = [digest for digest in tagged if snapshot.manifests[digest].media_type in mediatypes.INDEXES]
    children = catalog.history.children(snapshot.repository, indexes) if indexes else {}
    lists: list[dict[str, object]] = []
    for digest in indexes:
        parts = [part for part in children.get(digest, ()) if part in images and part in snapshot.manifests]
        if parts:
            media_type = snapshot.manifests[digest].media_type
            members = [_image(images[part], ()) for part in parts]
            lists.append({"Tags": tagged[digest], "Digest": digest, "MediaType": media_type, "Images": members})
    return lists


def _image(row: ImageRow, tags: Sequence[str]) -> dict[str, object]:
    return {
        "Tags": list(tags),
        "Digest": row.digest,
        "MediaType": row.media_type,
        "OS": row.os,
        "Architecture": row.architecture,
        "Labels": dict(row.labels),
        "Annotations": dict(row.annotations),
    }
