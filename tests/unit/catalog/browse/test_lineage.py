"""Lineage: the versions that brought a manifest, by time, and where they went out to."""

from datetime import UTC, datetime, timedelta

from catalog.browse.lineage import departure_event
from catalog.catalog import Catalog
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.version_origins import VersionOrigin
from tests.unit.catalog.conftest import commit_to, push_image, stage_image

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_a_manifest_is_followed_from_upstream_to_where_it_went(catalog: Catalog) -> None:
    push_image(catalog, "mirror", "v0", "before")
    for name, operation, origin, hours in (
        ("mirror", "sync", VersionOrigin("remote", "docker.io/library/app"), 5),
        ("team/app", "promote", VersionOrigin("repository", "mirror", 2), 3),
    ):
        image = stage_image(catalog, name, "app")
        commit_to(
            catalog, name, AddManifest(image), SetTag("v1", image.digest), operation=operation, operation_id=name,
            version_origins=(origin,), created_at=NOW - timedelta(hours=hours),
        )  # fmt: skip
    events = [
        departure_event("export", "team/app", version, f"bundle-{version}.tar", actor="a", run_id="r", now=NOW)
        for version in (0, 1)
    ]
    catalog.events.record(events)
    steps = catalog.browse.lineage(image.digest, ["mirror", "team/app"])
    assert [(one.repository, one.number, one.operation, [str(origin) for origin in one.origins]) for one in steps] == [
        ("mirror", 2, "sync", ["remote docker.io/library/app"]),
        ("team/app", 1, "promote", ["repository mirror@2"]),
        ("team/app", 1, "export", []),
    ]
    assert [(one.left, one.target) for one in steps] == [(False, ""), (False, ""), (True, "bundle-1.tar")]
    assert catalog.browse.lineage(image.digest, ["mirror"])[-1].repository == "mirror"
    assert catalog.browse.lineage(image.digest, []) == []
