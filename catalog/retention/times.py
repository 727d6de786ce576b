"""When the tags of a repository were set, and when its manifests came or lost a tag."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from catalog.lake.connection import Lake
from oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Times:
    """When each tag was set last, and when each manifest came, or lost a tag, last."""

    tags: Mapping[str, datetime] = field(default_factory=dict)
    manifests: Mapping[Digest, datetime] = field(default_factory=dict)


def read_times(lake: Lake, name: str) -> Times:
    """Return when tags were set, and when manifests came or lost a tag; one query."""
    rows = lake.read(
        "SELECT changes.kind, tag, digest, action, max(created_at) FROM changes JOIN versions "
        "ON versions.repository = changes.repository AND versions.number = changes.version "
        "WHERE changes.repository = ? AND changes.kind IN ('tag', 'manifest') GROUP BY ALL",
        [name],
    )
    tags: dict[str, datetime] = {}
    manifests: dict[Digest, datetime] = {}
    for kind, tag, text, action, when in rows:
        assert isinstance(when, datetime)
        digest, at = Digest(str(text)), when.astimezone(UTC)
        if kind == "tag" and action == "add":
            tags[str(tag)] = max(at, tags.get(str(tag), at))
        manifests[digest] = max(at, manifests.get(digest, at))
    return Times(tags, manifests)
