"""Parsers of the events that registries send after a push or deletion, into one form; pure functions of bytes.

Each follows its sender's documentation and reads only what it needs. Unknown fields, unknown kinds of events and entries that
do not parse are ignored, since senders repeat what is refused.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from catalog.webhooks.cloud_events import PREFIX
from catalog.webhooks.queue import Action, UpstreamEvent
from catalog.webhooks.records import VERSION_CREATED, Kind
from oci import mediatypes
from oci.digest import Digest
from oci.errors import EntrepotError, InvalidInput
from oci.reference import is_tag, parse_name

Document = Mapping[str, Any]
_MOST = 10_000
"""Events that one request may contain."""


def parse_events(kind: Kind, raw: bytes, *, delivery_id: str = "") -> list[UpstreamEvent]:
    """Return the pushes and deletions in a body; raise InvalidInput when it is not of the kind.

    `delivery_id` is the sender's id of this delivery in a header, for formats whose bodies have no id.
    """
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidInput("invalid body: expected JSON") from None
    if kind == "auto":
        kind = _detect(document)
    try:
        events = list(_FORMATS[kind](document, delivery_id[:200]))
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise InvalidInput(f"invalid body: expected the format of {kind}") from None
    if len(events) > _MOST:
        raise InvalidInput(f"the body contains {len(events)} events; expected at most {_MOST}")
    return events


def _detect(document: Any) -> Kind:
    first = document[0] if isinstance(document, list) and document else document
    if isinstance(first, dict):
        for kind, keys in _SHAPES:
            if keys <= first.keys():
                return kind
        if first.keys() & {"package", "registry_package", "zen", "hook_id"}:
            return "github"
    raise InvalidInput("unknown format of the body: set the hook's kind")


_SHAPES: tuple[tuple[Kind, set[str]], ...] = (
    ("cloudevents", {"specversion", "type", "id"}),
    ("docker-distribution", {"events"}),
    ("docker-hub", {"push_data", "repository"}),
    ("harbor", {"event_data"}),
    ("quay", {"updated_tags"}),
)


def _pushed(
    repository: object, tag: object, digest: object, action: Action, event_id: object
) -> Iterator[UpstreamEvent]:
    """Yield one event, or none where a part is invalid."""
    if not isinstance(repository, str):
        return
    try:
        name = parse_name(repository.lower())
        checked = str(Digest.parse(digest)) if isinstance(digest, str) and digest else ""
    except EntrepotError:
        return
    if tag and not (isinstance(tag, str) and is_tag(tag)):
        return
    yield UpstreamEvent(name, str(tag or ""), checked, action, str(event_id or "")[:300])


def _distribution(document: Document, _: str) -> Iterator[UpstreamEvent]:
    """Parse the envelope of docker-registry (distribution) and GitLab: `{"events": [{"id", "action", "target": {…}}]}`.

    Events of blobs are included, and of manifests by digest alone; a mount or a pull changes nothing.
    """
    for event in _dicts(document["events"]):
        action, target = event.get("action"), event.get("target")
        if action not in {"push", "delete"} or not isinstance(target, dict):
            continue
        is_blob = target.get("mediaType") not in mediatypes.MANIFESTS and not target.get("tag")
        if action == "push" and is_blob:
            continue
        yield from _pushed(target.get("repository"), target.get("tag"), target.get("digest"), action, event.get("id"))


def _docker_hub(document: Document, delivery_id: str) -> Iterator[UpstreamEvent]:
    """`{"push_data": {"tag", "pushed_at"}, "repository": {"repo_name": "library/app"}}`: no digest."""
    data, repository = document["push_data"], document["repository"]
    name = repository.get("repo_name") or f"{repository['namespace']}/{repository['name']}"
    tag, pushed_at = data.get("tag"), data.get("pushed_at")
    event_id = delivery_id or (f"{name}:{tag} {pushed_at}" if pushed_at else "")
    yield from _pushed(name, tag, "", "push", event_id)


_HARBOR: Mapping[str, Action] = {
    "PUSH_ARTIFACT": "push", "DELETE_ARTIFACT": "delete", "REPLICATION": "push", "harbor.artifact.pushed": "push",
    "harbor.artifact.deleted": "delete",
}  # fmt: skip


def _harbor(document: Document, delivery_id: str) -> Iterator[UpstreamEvent]:
    """`{"type": "PUSH_ARTIFACT", "event_data": {"repository": {"repo_full_name"}, "resources": [{"tag", "digest"}]}}`."""
    yield from _harbor_data(_HARBOR.get(str(document.get("type"))), document["event_data"], delivery_id)


def _harbor_data(action: Action | None, data: Document, event_id: str) -> Iterator[UpstreamEvent]:
    if action is None or not isinstance(data.get("repository"), dict):
        return
    name = data["repository"].get("repo_full_name")
    for resource in _dicts(data.get("resources") or ()):
        tag, digest = resource.get("tag"), resource.get("digest")
        tag = "" if tag == digest else tag  # an artifact without a tag is told of by its digest
        yield from _pushed(name, tag, digest, action, f"{event_id} {tag}" if event_id else "")


def _quay(document: Document, _: str) -> Iterator[UpstreamEvent]:
    """`{"repository": "team/app", "updated_tags": ["v1"]}`; of old, tags as keys of an object."""
    for tag in list(document["updated_tags"]):
        yield from _pushed(document["repository"], tag, "", "push", "")


def _github(document: Document, delivery_id: str) -> Iterator[UpstreamEvent]:
    """Events `package` and `registry_package`: `{"package": {"namespace", "name", "package_version": {…}}}`.

    Any other event of theirs, such as the `ping` of a new webhook, tells of nothing.
    """
    package = document.get("package") or document.get("registry_package")
    if not isinstance(package, dict):
        return
    kind = str(package.get("package_type") or package.get("ecosystem") or "").lower()
    if kind not in {"container", "docker"} or document.get("action") not in {"published", "updated"}:
        return
    owner = package.get("namespace") or (package.get("owner") or {}).get("login")
    version = package.get("package_version") or {}
    tag = (version.get("container_metadata") or {}).get("tag") or {}
    digest = tag.get("digest") or version.get("version")
    if not isinstance(owner, str) or not isinstance(package["name"], str):
        return
    yield from _pushed(f"{owner}/{package['name']}", tag.get("name"), digest, "push", delivery_id)


def _cloud_events(document: Any, _: str) -> Iterator[UpstreamEvent]:
    """CloudEvents 1.0 in structured or batched mode: ours, and Harbor's."""
    for event in _dicts(document if isinstance(document, list) else [document]):
        kind, data, event_id = event["type"], event.get("data"), f"{event.get('source')} {event['id']}"
        if not isinstance(data, dict):
            continue
        if kind in _HARBOR:
            yield from _harbor_data(_HARBOR[kind], data, event_id)
        elif kind == f"{PREFIX}{VERSION_CREATED}":
            yield from _ours(data, event_id)


def _ours(data: Document, event_id: str) -> Iterator[UpstreamEvent]:
    tags = data["tags"]
    if tags.get("truncated"):
        yield from _pushed(data["repository"], "", "", "many", event_id)
        return
    for group, action in _GROUPS:
        for change in _dicts(tags.get(group) or ()):
            tag = change.get("tag")
            yield from _pushed(data["repository"], tag, change.get("digest"), action, f"{event_id} {tag}")


_GROUPS: tuple[tuple[str, Action], ...] = (("added", "push"), ("moved", "push"), ("removed", "delete"))


def _dicts(entries: Any) -> Iterator[dict[str, Any]]:
    for entry in entries:
        if isinstance(entry, dict):
            yield entry


_FORMATS: Mapping[Kind, Callable[[Any, str], Iterator[UpstreamEvent]]] = {
    "docker-distribution": _distribution,
    "docker-hub": _docker_hub,
    "harbor": _harbor,
    "quay": _quay,
    "github": _github,
    "cloudevents": _cloud_events,
}
