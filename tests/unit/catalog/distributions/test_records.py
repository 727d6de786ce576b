"""Distributions serve the latest version or a pinned one, under any path."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from catalog.catalog import Catalog
from catalog.distributions.cache_rules import CacheRules
from catalog.distributions.records import Distribution, history_start
from catalog.distributions.replication import current_version, switch
from catalog.lake import schema
from catalog.versions.changes import Commit
from catalog.versions.rows import fit_records, version_record
from catalog.versions.snapshot import Delta, Snapshot
from oci.errors import DistributionUnknown, InvalidInput
from oci.remote.discovery.discovery import Served
from tests.unit.catalog.conftest import push_image

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_new_repository_is_served_under_its_name(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    other = open_again()
    assert catalog.serving.find("team/app") is None
    push_image(catalog, "team/app", "a", "one")
    for reader in (catalog, other):
        served = reader.serving.find("team/app")
        assert served is not None
        assert served.version == 1
        assert reader.serving.cached("team/app") is served
    assert len(catalog.distributions.all()) == 1
    push_image(catalog, "team/app", "a", "two")
    assert len(catalog.distributions.all()) == 1


def test_a_pinned_path_stays_while_the_latest_moves(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    push_image(catalog, "team/app", "a", "one")
    other = open_again()
    catalog.distributions.put(Distribution("stable/app", "team/app", NOW, NOW, version=1), actor="admin")
    push_image(catalog, "team/app", "a", "two")
    for reader in (catalog, other, open_again()):
        stable, latest = reader.serving.find("stable/app"), reader.serving.find("team/app")
        assert stable is not None
        assert latest is not None
        assert (stable.version, latest.version) == (1, 2)
        assert reader.serving.cached("stable/app") is stable


def test_a_distribution_is_changed_and_deleted(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    push_image(catalog, "team/app", "a", "one")
    other = open_again()
    first = catalog.distributions.get("team/app")
    catalog.distributions.put(replace(first, private=True, description="for us"), actor="admin")
    assert other.serving.find("team/app") is not None
    changed = other.distributions.get("team/app")
    assert (changed.private, changed.description, changed.created_at) == (True, "for us", first.created_at)
    catalog.distributions.delete("team/app", actor="admin")
    for reader in (catalog, other, open_again()):
        assert reader.serving.find("team/app") is None
    with pytest.raises(DistributionUnknown):
        catalog.distributions.delete("team/app", actor="admin")
    assert catalog.snapshots.get("team/app").version == 1


def test_an_older_catalogue_is_migrated(
    home: object, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        patch.setattr("catalog.lake.connection.MIGRATIONS", schema.MIGRATIONS[:1])
        patch.setattr("catalog.lake.connection.SCHEMA_VERSION", 1)
        for kind in ("distributions.records.Distributions", "remotes.records.Remotes"):
            patch.setattr(f"catalog.{kind}.reload", lambda _: None)
        patch.setattr("catalog.quotas.quotas.Quotas.reload", lambda _: None)
        patch.setattr("catalog.catalog.grant_rights_of_older_releases", lambda *_: None)
        old = open_again()
        made = Commit("team/app", "push", (), "op", "admin", NOW)
        with old._lake.write() as writer:
            record = version_record(made, Snapshot("team/app", 0), Snapshot("team/app", 1), Delta())
            del record["base"], record["origins"]  # which are younger
            writer.append("records", fit_records([record]))
    migrated = open_again()
    assert migrated.distributions.get("team/app") == Distribution("team/app", "team/app", NOW, NOW)
    assert [(row.number, row.base) for row in migrated.history.versions("team/app")] == [(1, 0)]


def test_the_rules_of_a_cache_are_kept(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    rules = CacheRules(("team/*",), ("re:.*/x",), "rule", 50_000_000_000, 30.5)
    made = Distribution("cache", "", NOW, NOW, remote="registry.example", fresh_seconds=7, cache=rules)
    catalog.distributions.put(made, actor="admin")
    assert open_again().distributions.get("cache") == made


@pytest.mark.parametrize(
    "rules", [{"include": ("re:[",)}, {"exclude": ("re:(",)}, {"max_size": -1}, {"keep_unused_days": -0.1}]
)
def test_rules_that_cannot_be_used_are_refused(rules: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        CacheRules(**rules).check()  # type: ignore[arg-type]


def test_a_cache_owns_whole_parts_of_paths_and_the_innermost_wins(catalog: Catalog) -> None:
    for path in ("cache", "cache/inner", "a/b"):
        catalog.distributions.put(Distribution(path, "", NOW, NOW, remote="registry.example"), actor="admin")
    owners = {
        name: found.path if (found := catalog.distributions.find_cache(name)) else None
        for name in (
            "cache",
            "cache/app",
            "cache/inner",
            "cache/inner/app",
            "cache/innermost/app",
            "cachet/app",
            "a/bc/d",
            "a/b/c",
        )
    }
    assert owners == {
        "cache": None,
        "cache/app": "cache",
        "cache/inner": "cache",
        "cache/inner/app": "cache/inner",
        "cache/innermost/app": "cache",
        "cachet/app": None,
        "a/bc/d": None,
        "a/b/c": "a/b",
    }


def test_a_content_mark_is_another_one_for_another_version(
    catalog: Catalog, open_again: Callable[..., Catalog]
) -> None:
    push_image(catalog, "team/app", "v1", "one")
    catalog.distributions.put(Distribution("stable/app", "team/app", NOW, NOW, version=1), actor="admin")

    def marks(one: Catalog) -> dict[str, str]:
        return one.serving.content_marks(one.distributions.all())

    first = marks(catalog)
    assert first["team/app"] == first["stable/app"]
    assert marks(open_again()) == first
    push_image(catalog, "team/app", "v2", "two")
    second = marks(catalog)
    assert (second["stable/app"], second["team/app"] != first["team/app"]) == (first["stable/app"], True)
    assert len(second["team/app"]) == 32


def test_a_replica_is_current_while_content_policy_and_version_are_those_of_the_last_time() -> None:
    served = Served("team/app", content="a")
    (made,) = switch({}, [(served, 3)], "upstream.example", NOW)
    assert current_version(made, served, "immediate") == 3
    assert current_version(made, served, "on_demand") is None
    assert current_version(made, replace(served, content="b"), "immediate") is None
    assert current_version(replace(made, version=2), served, "immediate") is None
    assert current_version(replace(made, version=None), served, "immediate") is None
    assert current_version(None, served, "immediate") is None
    silent = Served("team/app")
    (told_nothing,) = switch({}, [(silent, 3)], "upstream.example", NOW)
    assert current_version(told_nothing, silent, "immediate") is None
    later = NOW.replace(year=2027)
    (marked,) = switch({"team/app": made}, [(replace(served, content="b"), 3)], "upstream.example", later)
    assert marked.updated_at == NOW


def test_an_older_catalogue_opens_the_past_since_a_path_was_last_set(
    home: object, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was private before that is not known."""
    number = next(
        number
        for number, entry in enumerate(schema.MIGRATIONS)
        if any("history_from" in str(statement) for statement in entry)
    )
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:number])
        patch.setattr("catalog.lake.connection.MIGRATIONS", schema.MIGRATIONS[:number])
        patch.setattr("catalog.lake.connection.SCHEMA_VERSION", number)
        for kind in ("distributions.records.Distributions", "remotes.records.Remotes"):
            patch.setattr(f"catalog.{kind}.reload", lambda _: None)
        patch.setattr("catalog.catalog.grant_rights_of_older_releases", lambda *_: None)
        old = open_again()
        with old._lake.write() as writer:
            for version in (1, 2, 3):
                writer.execute(
                    "INSERT INTO records (repository, version, action, kind, created_at) VALUES (?, ?, 'add', 'version', ?)",
                    ["team/app", version, NOW + timedelta(hours=version)],
                )
            for path, repository, fixed, hours, remote in (
                ("team/app", "team/app", None, 1, ""),
                ("since/two", "team/app", None, 2.5, ""),
                ("fixed", "team/app", 2, 9, ""),
                ("never", "team/app", 3, 0, ""),
                ("cache", "", None, 0, "r.example"),
            ):
                writer.execute(
                    "INSERT INTO distributions (path, repository, version, private, description, created_at, updated_at, "
                    "remote) VALUES (?, ?, ?, false, '', ?, ?, ?)",
                    [path, repository, fixed, NOW, NOW + timedelta(hours=hours), remote],
                )
    found = {one.path: one.history_from for one in open_again().distributions.all()}
    assert found == {"team/app": 1, "since/two": 2, "fixed": 2, "never": 3, "cache": 1}


@pytest.mark.parametrize(
    ("old", "made", "expected"),
    [
        (None, {}, 9),
        (None, {"version": 4}, 4),
        ({"history_from": 3}, {"description": "x"}, 3),
        ({"history_from": 3}, {"private": True}, 3),
        ({"history_from": 3, "private": True}, {}, 9),
        ({"history_from": 3}, {"repository": "other"}, 9),
        ({"history_from": 3, "version": 3}, {}, 9),
        ({"history_from": 3}, {"version": 2}, 2),
    ],
)
def test_from_which_version_on_the_past_is_open(
    old: dict[str, object] | None, made: dict[str, object], expected: int
) -> None:
    plain = Distribution("team/app", "team/app", NOW, NOW)
    before = replace(plain, **old) if old is not None else None  # type: ignore[arg-type]
    assert history_start(before, replace(plain, **made), 9) == expected  # type: ignore[arg-type]
