"""What registries send, by the shape each documents, read into one form; and what nobody should send."""

import json
from contextlib import suppress
from typing import Any

import pytest

from catalog.commits.commit_log import VersionMade
from catalog.webhooks.cloud_events import cloud_event, distribution_envelope, version_notification
from catalog.webhooks.queue import Pushed
from catalog.webhooks.records import Kind
from oci.errors import InvalidInput
from registry_api.webhooks.payloads import parse_events
from tests.unit.catalog.webhooks.test_cloud_events import MADE

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"

DISTRIBUTION = {
    "events": [
        {
            "id": "320678d8-ca14-430f-8bb6-4ca139cd83f7",
            "timestamp": "2026-03-09T14:44:26.402973972-08:00",
            "action": "push",
            "target": {
                "mediaType": MANIFEST, "digest": A, "size": 708, "length": 708, "repository": "team/app", "tag": "v1",
                "url": f"http://upstream.example/v2/team/app/manifests/{A}",
            },
            "request": {"id": "6df24a34", "addr": "192.0.2.1", "host": "upstream.example", "method": "PUT"},
            "actor": {"name": "alice"},
            "source": {"addr": "upstream.example:5000", "instanceID": "a53db899"},
        },
        {
            "id": "of-a-layer", "action": "push",
            "target": {"mediaType": "application/octet-stream", "digest": B, "repository": "team/app"},
        },
        {
            "id": "of-a-pull", "action": "pull",
            "target": {"mediaType": MANIFEST, "digest": A, "repository": "team/app", "tag": "v1"},
        },
        {"id": "by-digest", "action": "push", "target": {"mediaType": MANIFEST, "digest": B, "repository": "team/app"}},
        {"id": "gone", "action": "delete", "target": {"digest": A, "repository": "team/app"}},
    ]
}  # fmt: skip
DOCKER_HUB = {
    "callback_url": "https://registry.hub.docker.com/u/svendowideit/testhook/hook/2141b5bi5i5b02bec211i4eeih0242eg11000a/",
    "push_data": {"pushed_at": 1417566161, "pusher": "trustedbuilder", "tag": "latest"},
    "repository": {
        "comment_count": 0, "is_official": False, "is_private": True, "is_trusted": True, "name": "testhook",
        "namespace": "svendowideit", "owner": "svendowideit", "repo_name": "svendowideit/testhook", "status": "Active",
    },
}  # fmt: skip
HARBOR = {
    "type": "PUSH_ARTIFACT",
    "occur_at": 1586922308,
    "operator": "admin",
    "event_data": {
        "resources": [{"digest": A, "tag": "v1", "resource_url": "harbor.example/library/app:v1"}, {"digest": B, "tag": B}],
        "repository": {
            "date_created": 1586922308, "name": "app", "namespace": "library", "repo_full_name": "library/app",
            "repo_type": "private",
        },
    },
}  # fmt: skip
HARBOR_CLOUD_EVENT = {
    "specversion": "1.0", "id": "6a9ab0a6", "source": "/projects/1/webhook/policies/1", "type": "harbor.artifact.pushed",
    "datacontenttype": "application/json", "time": "2026-04-03T06:31:17Z",
    "data": {
        "resources": [{"digest": A, "tag": "v1", "resource_url": "harbor.example/library/app:v1"}],
        "repository": {"name": "app", "namespace": "library", "repo_full_name": "library/app", "repo_type": "public"},
    },
    "operator": "robot$library+ci",
}  # fmt: skip
QUAY = {
    "name": "repository", "repository": "mynamespace/repository", "namespace": "mynamespace",
    "docker_url": "quay.example/mynamespace/repository", "homepage": "https://quay.example/repository/mynamespace/repository",
    "updated_tags": ["latest", "v1"],
}  # fmt: skip
GITHUB = {
    "action": "published",
    "registry_package": {
        "id": 1, "name": "app", "namespace": "Acme", "ecosystem": "CONTAINER", "package_type": "CONTAINER",
        "package_version": {
            "id": 2, "version": A, "container_metadata": {"tag": {"name": "v1", "digest": A}, "labels": {}, "manifest": {}},
        },
    },
    "repository": {"full_name": "Acme/app"},
    "sender": {"login": "alice"},
}  # fmt: skip
VECTORS: dict[str, tuple[Kind, Any, list[Pushed]]] = {
    "docker-distribution envelope": (
        "docker-distribution",
        DISTRIBUTION,
        [
            Pushed("team/app", "v1", A, "push", "320678d8-ca14-430f-8bb6-4ca139cd83f7"),
            Pushed("team/app", "", B, "push", "by-digest"),
            Pushed("team/app", "", A, "delete", "gone"),
        ],
    ),
    "docker-hub push": (
        "docker-hub",
        DOCKER_HUB,
        [Pushed("svendowideit/testhook", "latest", "", "push", "svendowideit/testhook:latest 1417566161")],
    ),
    "harbor PUSH_ARTIFACT": ("harbor", HARBOR, [Pushed("library/app", "v1", A), Pushed("library/app", "", B)]),
    "harbor DELETE_ARTIFACT": (
        "harbor",
        {**HARBOR, "type": "DELETE_ARTIFACT"},
        [Pushed("library/app", "v1", A, "delete"), Pushed("library/app", "", B, "delete")],
    ),
    "harbor SCANNING_COMPLETED": ("harbor", {**HARBOR, "type": "SCANNING_COMPLETED"}, []),
    "harbor CloudEvent": (
        "cloudevents",
        HARBOR_CLOUD_EVENT,
        [Pushed("library/app", "v1", A, "push", "/projects/1/webhook/policies/1 6a9ab0a6 v1")],
    ),
    "quay repo_push": (
        "quay",
        QUAY,
        [Pushed("mynamespace/repository", "latest"), Pushed("mynamespace/repository", "v1")],
    ),
    "quay repo_push of old": (
        "quay",
        {**QUAY, "updated_tags": {"latest": "4b7a"}},
        [Pushed("mynamespace/repository", "latest")],
    ),
    "github registry_package": ("github", GITHUB, [Pushed("acme/app", "v1", A)]),
    "github package": (
        "github",
        {"action": "published", "package": GITHUB["registry_package"]},
        [Pushed("acme/app", "v1", A)],
    ),
    "github npm package": (
        "github",
        {"action": "published", "package": {"name": "app", "package_type": "npm", "namespace": "acme"}},
        [],
    ),
    "github ping": ("github", {"zen": "Design for failure.", "hook_id": 1, "hook": {}}, []),
    "entrepot version.created": (
        "cloudevents",
        cloud_event(version_notification(MADE), "https://registry.example"),
        [
            Pushed("team/app", "v2", A, "push", "https://registry.example team/app@7 v2"),
            Pushed("team/app", "latest", A, "push", "https://registry.example team/app@7 latest"),
            Pushed("team/app", "v0", B, "delete", "https://registry.example team/app@7 v0"),
        ],
    ),
    "entrepot of another type": (
        "cloudevents",
        {
            "specversion": "1.0",
            "id": "1",
            "source": "s",
            "type": "entrepot.distribution.changed",
            "data": {"path": "a"},
        },
        [],
    ),
    "entrepot as docker-distribution": (
        "docker-distribution",
        distribution_envelope(version_notification(MADE), "https://registry.example"),
        [
            Pushed("team/app", "v2", A, "push", "team/app@7:v2"),
            Pushed("team/app", "latest", A, "push", "team/app@7:latest"),
            Pushed("team/app", "v0", B, "delete", "team/app@7:v0"),
        ],
    ),
}


@pytest.mark.parametrize("named", VECTORS)
def test_each_format_is_read(named: str) -> None:
    kind, document, expected = VECTORS[named]
    raw = json.dumps(document).encode()
    assert parse_events(kind, raw) == expected
    assert parse_events("auto", raw) == expected


def test_many_tags_at_once_are_told_as_many() -> None:
    made = VersionMade(**{**{key: getattr(MADE, key) for key in VersionMade.__slots__}, "truncated": True})
    raw = json.dumps(cloud_event(version_notification(made), "s")).encode()
    assert parse_events("auto", raw) == [Pushed("team/app", "", "", "many", "s team/app@7")]


def test_batched_cloud_events_are_read() -> None:
    raw = json.dumps([HARBOR_CLOUD_EVENT, {**HARBOR_CLOUD_EVENT, "id": "2"}]).encode()
    assert [one.event_id[-4:] for one in parse_events("auto", raw)] == ["a6 v1"[-4:], " 2 v1"[-4:]]


def test_the_header_of_a_delivery_is_its_id_where_the_body_has_none() -> None:
    (found,) = parse_events("github", json.dumps(GITHUB).encode(), delivery_id="d-1")
    assert found.event_id == "d-1"


@pytest.mark.parametrize(
    "target",
    [
        {"repository": "../etc", "tag": "v1", "digest": A},
        {"repository": "team/app", "tag": "v 1", "digest": A},
        {"repository": "team/app", "tag": "v1", "digest": "sha256:short"},
        {"repository": ["team"], "tag": "v1", "digest": A},
        {"repository": "team/app", "tag": {"a": 1}, "digest": A},
        "none",
    ],
)
def test_an_entry_with_bad_parts_is_passed_over_and_the_others_count(target: object) -> None:
    events = [{"id": "1", "action": "push", "target": target}, DISTRIBUTION["events"][0], None, 7]
    assert [one.tag for one in parse_events("auto", json.dumps({"events": events}).encode())] == ["v1"]


@pytest.mark.parametrize(
    "kind", ["auto", "docker-distribution", "docker-hub", "harbor", "quay", "github", "cloudevents"]
)
@pytest.mark.parametrize(
    "raw",
    [
        b"", b"\xff\xfe", b"{", b"null", b"3", b'"text"', b"[[" * 20_000, b"[1]", b'{"events": 3}', b'{"events": {}, "a": NaN}',
        b'{"push_data": [], "repository": []}', b'{"event_data": null, "type": "PUSH_ARTIFACT"}', b'{"updated_tags": null}',
        b'{"specversion": 1, "type": [], "id": {}}', b'{"specversion": "1.0", "type": {}, "id": 1, "data": {}}',
        b'{"package": {"package_type": "container", "namespace": 1, "name": 2}, "action": "published"}',
    ],
)  # fmt: skip
def test_hostile_bodies_are_refused_or_tell_of_nothing(kind: Kind, raw: bytes) -> None:
    with suppress(InvalidInput):
        assert parse_events(kind, raw) == []


def test_too_many_events_are_refused() -> None:
    event = DISTRIBUTION["events"][0]
    with pytest.raises(InvalidInput, match="at most 10000"):
        parse_events("auto", json.dumps({"events": [event] * 10_001}).encode())
