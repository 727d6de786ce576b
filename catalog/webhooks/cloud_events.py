"""What we tell others of: events, and the two forms they are sent in. Pure functions over values.

Source: CloudEvents 1.0.2, JSON format, structured mode; docker-registry's documentation, "Notifications".
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from catalog.audit import Event
from catalog.commits.commit_log import TagChange, VersionMade
from catalog.distributions.records import Distribution
from catalog.settings import Settings
from catalog.units import format_time
from catalog.webhooks.records import (
    ACT_DONE,
    ACT_REFUSED,
    DISTRIBUTION_CHANGED,
    UPSTREAM_EVENTS,
    VERSION_CREATED,
    Format,
)

PREFIX = "entrepot."
"""What the types of our CloudEvents begin with."""
TEST = "test"
SIGNATURE = "X-Hub-Signature-256"
CONTENT_TYPES: Mapping[Format, str] = {
    "cloudevents": "application/cloudevents+json; charset=utf-8",
    "distribution": "application/vnd.docker.distribution.events.v1+json",
}


@dataclass(frozen=True, slots=True)
class Notification:
    """One event: `id` is the same whenever it is delivered again; `name` is the repository or path it is about."""

    id: str
    kind: str
    name: str
    happened_at: datetime
    data: Mapping[str, Any]


def version_notification(made: VersionMade) -> Notification:
    """Return the notification of a new version, whatever operation made it."""
    return Notification(
        f"{made.repository}@{made.number}",
        VERSION_CREATED,
        made.repository,
        made.created_at,
        {
            "repository": made.repository, "version": made.number, "operation": made.operation, "actor": made.actor,
            "flow_run_id": made.flow_run_id, "message": made.message,
            "tags": {
                "added": [_tag(one) for one in made.added],
                "moved": [{**_tag(one), "previous": one.previous} for one in made.moved],
                "removed": [{"tag": one.tag, "digest": one.digest} for one in made.removed],
                "truncated": made.truncated,
            },
            "counts": {"tags": made.tags, "manifests": made.manifests, "bytes": made.size_bytes},
        },
    )  # fmt: skip


def _tag(one: TagChange) -> dict[str, object]:
    return {"tag": one.tag, "digest": one.digest, "media_type": one.media_type, "size": one.size}


def distribution_notification(
    path: str, change: str, now_served: Distribution | None, position: int, happened_at: datetime
) -> Notification:
    """Return the notification that a distribution was `set` or `deleted`; `serves` is null after a deletion."""
    shown = None if change == "deleted" else now_served
    serves = shown and {
        "repository": shown.repository, "version": shown.version, "private": shown.private,
        "remote": shown.remote,
    }  # fmt: skip
    return Notification(
        f"{path}@commit-{position}",
        DISTRIBUTION_CHANGED,
        path,
        happened_at,
        {"path": path, "change": change, "serves": serves},
    )


def act_notification(event: Event, position: int, index: int) -> Notification:
    """Return the notification of an administrative act, a refusal, or a change upstream, as the audit event has it."""
    kind = ACT_REFUSED if event.outcome == "refused" else UPSTREAM_EVENTS.get(event.action, ACT_DONE)
    data = {
        "actor": event.actor, "action": event.action, "name": event.name, "outcome": event.outcome,
        "reason": event.reason, "address": event.address, "detail": dict(event.detail),
    }  # fmt: skip
    return Notification(f"act@commit-{position}.{index}", kind, event.name, event.happened_at, data)


def trial_notification(subscription: str, event_id: str, now: datetime) -> Notification:
    """Return the notification that `entrepot subscription test` sends."""
    return Notification(event_id, TEST, subscription, now, {"subscription": subscription})


def event_source(settings: Settings) -> str:
    """Return the `source` of our CloudEvents: the address by which clients reach this installation."""
    return settings.public_url.rstrip("/") or f"{'https' if settings.tls_cert else 'http'}://{settings.listen}"


def body_of(notification: Notification, form: Format, source: str) -> bytes | None:
    """Return the body to send; None where the format cannot express the event."""
    document = (
        cloud_event(notification, source) if form == "cloudevents" else distribution_envelope(notification, source)
    )
    return json.dumps(document, default=str).encode() if document else None


def cloud_event(notification: Notification, source: str) -> dict[str, Any]:
    """Return one CloudEvent; `source` and `id` together identify it."""
    return {
        "specversion": "1.0", "id": notification.id, "source": source, "type": f"{PREFIX}{notification.kind}",
        "subject": notification.name,
        "time": format_time(notification.happened_at), "datacontenttype": "application/json", "data": dict(notification.data),
    }  # fmt: skip


def distribution_envelope(notification: Notification, source: str) -> dict[str, Any] | None:
    """Return docker-registry's envelope: an event for each tag that was pushed or deleted."""
    if notification.kind == TEST:
        return {"events": []}
    if notification.kind != VERSION_CREATED:
        return None
    tags: Mapping[str, Any] = notification.data["tags"]
    groups: Sequence[tuple[str, str]] = (("added", "push"), ("moved", "push"), ("removed", "delete"))
    events = [
        {
            "id": f"{notification.id}:{one['tag']}", "timestamp": format_time(notification.happened_at), "action": action,
            "target": {
                "mediaType": one.get("media_type", ""), "size": one.get("size", 0), "digest": one["digest"],
                "repository": notification.name, "tag": one["tag"],
                "url": f"{source}/v2/{notification.name}/manifests/{one['digest']}",
            },
            "actor": {"name": notification.data["actor"]}, "source": {"addr": source.partition("://")[2]},
        }
        for group, action in groups
        for one in tags[group]
    ]  # fmt: skip
    return {"events": events} if events else None


def sign_body(body: bytes, key: bytes) -> str:
    """Return the value of the signature header: HMAC-SHA256 over the body, as GitHub writes it."""
    return f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
