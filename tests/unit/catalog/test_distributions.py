"""Distributions serve the latest version or a pinned one, under any path."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from catalog import schema
from catalog.catalog import Catalog
from catalog.changes import Commit
from catalog.distributions import Distribution
from catalog.rows import record_table, version_record
from catalog.snapshot import Delta, Snapshot
from oci.errors import DistributionUnknown
from tests.unit.catalog.conftest import push_image

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_new_repository_is_served_under_its_name(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    other = open_again()
    assert catalog.find_served("team/app") is None
    push_image(catalog, "team/app", "a", "one")
    for reader in (catalog, other):
        served = reader.find_served("team/app")
        assert served is not None
        assert served.version == 1
        assert reader.cached_served("team/app") is served
    assert len(catalog.distributions.all()) == 1
    push_image(catalog, "team/app", "a", "two")
    assert len(catalog.distributions.all()) == 1


def test_a_pinned_path_stays_while_the_latest_moves(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    push_image(catalog, "team/app", "a", "one")
    other = open_again()
    catalog.distributions.put(Distribution("stable/app", "team/app", NOW, NOW, version=1), actor="admin")
    push_image(catalog, "team/app", "a", "two")
    for reader in (catalog, other, open_again()):
        stable, latest = reader.find_served("stable/app"), reader.find_served("team/app")
        assert stable is not None
        assert latest is not None
        assert (stable.version, latest.version) == (1, 2)
        assert reader.cached_served("stable/app") is stable


def test_a_distribution_is_changed_and_deleted(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    push_image(catalog, "team/app", "a", "one")
    other = open_again()
    first = catalog.distributions.get("team/app")
    catalog.distributions.put(replace(first, private=True, description="for us"), actor="admin")
    assert other.find_served("team/app") is not None
    changed = other.distributions.get("team/app")
    assert (changed.private, changed.description, changed.created_at) == (True, "for us", first.created_at)
    catalog.distributions.delete("team/app", actor="admin")
    for reader in (catalog, other, open_again()):
        assert reader.find_served("team/app") is None
    with pytest.raises(DistributionUnknown):
        catalog.distributions.delete("team/app", actor="admin")
    assert catalog.snapshot("team/app").version == 1


def test_an_older_catalogue_is_migrated(
    home: object, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        patch.setattr("catalog.lake.MIGRATIONS", schema.MIGRATIONS[:1])
        patch.setattr("catalog.lake.SCHEMA_VERSION", 1)
        patch.setattr("catalog.distributions.Distributions.reload", lambda _: None)
        patch.setattr("catalog.remotes.Remotes.reload", lambda _: None)
        old = open_again()
        made = Commit("team/app", "push", (), "op", "admin", NOW)
        with old._lake.write() as writer:
            writer.append("records", record_table([version_record(made, Snapshot("team/app", 1), Delta())]))
    assert open_again().distributions.get("team/app") == Distribution("team/app", "team/app", NOW, NOW)
