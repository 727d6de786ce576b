"""Retention over a real catalogue: what no rule keeps goes with its companions, once; and the command says why."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.retention.rules import RetentionRule
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.pins import Pin
from flows.retention.flow import retain
from flows.retention.request import Retained
from oci import mediatypes
from tests.cli.commands import Entrepot
from tests.unit.catalog.conftest import commit_to, push_image, stage_image, stage_manifest

NAME = "team/app"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def at(days: int) -> datetime:
    return NOW - timedelta(days=days)


def run(catalog: Catalog, *rules: RetentionRule, dry_run: bool = False) -> Retained:
    return retain(catalog, NAME, rules, run_id=f"run {catalog.snapshots.get(NAME).version}", now=NOW, dry_run=dry_run)


def sign(catalog: Catalog, tag: str) -> str:
    """Attach something to a tag's manifest; returns its digest."""
    snapshot = catalog.snapshots.get(NAME)
    subject = snapshot.tags[tag]
    config = stage_image(catalog, NAME, f"config of {tag}")
    document = json.loads(catalog.manifests.raw(config.digest))
    described = {"mediaType": mediatypes.OCI_MANIFEST, "digest": subject, "size": snapshot.manifests[subject].size}
    referrer = stage_manifest(catalog, NAME, {**document, "subject": described}, mediatypes.OCI_MANIFEST)
    commit_to(catalog, NAME, AddManifest(referrer), operation_id=f"sign {tag}")
    return referrer.digest


def test_tags_go_with_their_companions_and_a_second_run_changes_nothing(catalog: Catalog) -> None:
    for number in range(4):
        push_image(catalog, NAME, f"v1.{number}.0", str(number))
    push_image(catalog, NAME, "keep-me", "kept")
    gone, stays = sign(catalog, "v1.0.0"), sign(catalog, "v1.3.0")
    rule = RetentionRule(name="newest", pattern="team/**", newest=2, keep=("keep-*",))
    planned = run(catalog, rule, dry_run=True)
    before = catalog.snapshots.get(NAME)
    done = run(catalog, rule)
    assert done.items == planned.items
    after = catalog.snapshots.get(NAME)
    assert set(after.tags) == {"v1.3.0", "v1.2.0", "keep-me"}
    assert gone not in after.manifests
    assert stays in after.manifests
    assert (before.version + 1, done.version) == (after.version, after.version)
    assert {item.name: item.reason for item in done.items}["keep-me"] == "rule newest: fits keep-*"
    again = run(catalog, rule)
    assert again.version == 0
    assert catalog.snapshots.get(NAME).version == after.version


def test_age_untagged_manifests_and_versions(catalog: Catalog) -> None:
    for number, days in enumerate([90, 60, 20, 5]):
        descriptor = stage_image(catalog, NAME, str(number))
        changes = (AddManifest(descriptor), SetTag("latest", descriptor.digest))
        commit_to(catalog, NAME, *changes, operation_id=str(number), created_at=at(days))
    catalog.pins.add(Pin(NAME, 1, "audit", "test", NOW))
    rule = RetentionRule(name="tidy", pattern="team/app", untagged_after="30d", versions=2, set_within="30d")
    planned = run(catalog, rule, dry_run=True)
    done = run(catalog, rule)
    assert planned.items == done.items
    # The first lost its tag 60 days ago, the second 20 days ago.
    assert (done.count("tag"), done.count("manifest")) == (0, 1)
    assert [version.number for version in catalog.history.versions(NAME)] == [5, 4, 1]
    assert len(catalog.snapshots.get(NAME).manifests) == 3
    assert len(catalog.snapshots.get(NAME, 1).manifests) == 1
    assert not any(item.goes for item in run(catalog, rule).items)


def test_what_is_immutable_or_has_a_label_stays(catalog: Catalog) -> None:
    push_image(catalog, NAME, "v1", "one")
    push_image(catalog, NAME, "old", "two")
    push_image(catalog, NAME, "other", "three")
    catalog.distributions.put(replace(catalog.distributions.get(NAME), immutable_tags=("v*",)), actor="test")
    rule = RetentionRule(name="none", pattern="**", keep=("nothing",), labels=("seed=two",))
    reasons = {item.name: item.reason for item in run(catalog, rule).items}
    assert reasons == {
        "v1": "immutable, since it fits v*", "old": "has the label seed=two", "other": "no rule keeps it",
    }  # fmt: skip
    assert set(catalog.snapshots.get(NAME).tags) == {"v1", "old"}


@pytest.mark.slow
def test_retention_by_commands(entrepot: Entrepot, tmp_path: Path) -> None:
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        for number in range(3):
            push_image(catalog, NAME, f"v1.{number}.0", str(number))
        push_image(catalog, "other/app", "v1.0.0", "other")
    made = entrepot.json("retention", "set", "few", "team/**", "--newest", "1", "--versions", "1")
    assert (made["newest"], made["versions"]) == (1, 1)
    assert entrepot("retention", "set", "bad", "team/**", "--set-within", "soon").returncode == 2
    assert [rule["name"] for rule in entrepot.json("retention", "list")] == ["few"]
    planned = entrepot.json("retention", "run", "--dry-run")
    shown = entrepot("retention", "run", "--dry-run").stdout
    assert "rule few: a tag, among the 1 newest" in shown
    assert entrepot.json("retention", "run")["items"] == planned["items"]
    assert [row["tag"] for row in entrepot.json("tag", "list", NAME)["tags"]] == ["v1.2.0"]
    assert [row["number"] for row in entrepot.json("version", "list", NAME)] == [4]
    assert not any(item["goes"] for item in entrepot.json("retention", "run")["items"])
    assert entrepot.json("retention", "delete", "few") == {"deleted": "few"}
    assert entrepot("retention", "show", "few").returncode == 1
