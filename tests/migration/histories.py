"""An installation with a history of everything, and all that can be asked of it."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from catalog.access.policy import Grant, Rule
from catalog.access.store import AccessStore, ensure_administrator
from catalog.catalog import Catalog, open_catalog
from catalog.distributions.records import Distribution
from catalog.holds.rules import HoldDecision, HoldRule
from catalog.migration.migration import Migration
from catalog.quotas.quotas import Quota
from catalog.remotes.budget_stores import open_budget
from catalog.remotes.records import RemoteRecord
from catalog.retention.rules import RetentionRule
from catalog.settings import Settings, read_settings
from catalog.versions.pins import Pin
from catalog.watch.records import WatchTerms
from catalog.watch.sightings import SeenTag, Sightings
from catalog.webhooks.administration import WebhookAdministration
from catalog.webhooks.queue import EventQueue, Run, UpstreamEvent, open_queue
from catalog.webhooks.records import open_event_records
from oci.digest import Digest
from oci.remote.limits.budget import Budget
from tests.homes import new_home
from tests.postgresql import PostgresServer
from tests.unit.catalog.conftest import push_image, stage_blob

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
ODD = "é ✓ 😀 'quoted' \"and\" \\ \t日本"
TABLES = (
    "records",
    "distributions",
    "acts",
    "pulls",
    "pins",
    "remotes",
    "quotas",
    "retention_rules",
    "sources",
    "hold_rules",
    "hold_decisions",
    "watched_remotes",
    "watched_tags",
    "watched_changes",
)
ODD_TAG = "1.0_x-Y"
VIEWS = (
    "versions",
    "changes",
    "manifests",
    "members",
    "descriptors",
    "tags",
    "repositories",
    "events",
    "version_origins",
)
HELD = ("blobs", "links", "deliveries", "leaving", "quarantine", "marks")


def settings_of(home: Path, url: str = "", **more: Any) -> Settings:
    """Return the settings of an installation in files, or in a database."""
    if url:
        more = {"catalog": url, "catalog_password": PostgresServer.password, **more}
    return read_settings(home=home, **more)


def fill(home: Path) -> Settings:
    """Make an installation in files with a history: a copy of one that the first test has made."""
    shutil.copytree(_filled(), home, dirs_exist_ok=True)
    return settings_of(home)


@functools.cache
def _filled() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="entrepot-history-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fill_in(settings_of(new_home(folder / "home")))
    return folder / "home"


def fill_in(settings: Settings) -> None:
    """Give an installation a history."""
    ensure_administrator(settings, make_password=lambda: "correct horse")
    with open_catalog(settings) as catalog, open_queue(settings, catalog.state) as queue:
        _fill_lake(catalog)
        _fill_state(catalog, queue)


def _fill_lake(catalog: Catalog) -> None:
    for number in range(5):
        push_image(catalog, "team/app", f"v{number % 3}", f"app {number}", labels={"odd": ODD})
    push_image(catalog, "team/other", "latest", "other")
    push_image(catalog, "team/gone", "latest", "gone")
    for table in TABLES[:3]:
        catalog._lake.flush(table)
    push_image(catalog, "team/app", "after-flush", "after flush")
    catalog.deletion.delete_versions("team/app", [range(1, 3)], actor="ada", now=NOW)
    catalog.deletion.delete_repository("team/gone", actor="ada", now=NOW)
    catalog.pins.add(Pin("team/app", 4, "keep", "ada", NOW))
    catalog.distributions.put(
        Distribution("shown/app", "team/app", NOW, NOW, version=4, description=ODD, labels={"a": "b"}), actor="ada"
    )
    catalog.distributions.put(
        Distribution("cache", "", NOW, NOW, remote="registry.example", fresh_seconds=7), actor="ada"
    )
    catalog.remotes.put(RemoteRecord("registry.example", NOW, NOW, headers=(("x-a", "env:A"),)), actor="ada")
    catalog.quotas.put(Quota("team/**", max_bytes=10**12, warn_tags=5), actor="ada")
    catalog.retention_rules.put(RetentionRule(name="old", pattern="team/*", newest=3), actor="ada")
    catalog.holds.put_rule(HoldRule("held/**", timedelta(days=7), "ada", NOW))
    catalog.holds.decide(HoldDecision(Digest.of(b"bad"), "block", "team/*", ODD, "ada", NOW, owner="sec"))
    for number, text in enumerate((b"one", b"two")):
        base = catalog.watches.read("registry.example/team/app")
        seen = Sightings({ODD_TAG: SeenTag(Digest.of(text))}, is_complete=True)
        catalog.watches.record(base, seen, WatchTerms(), now=NOW + timedelta(hours=number))
    stage_blob(catalog, "team/leased", b"leased and not yet named")


def _fill_state(catalog: Catalog, queue: EventQueue) -> None:
    AccessStore(catalog.settings, catalog.state).update(
        lambda policy: policy.model_copy(
            update={
                "rules": (
                    *policy.rules,
                    Rule(id="r", subjects=("anyone",), grant=Grant(actions=("pull",), patterns=("x/**",))),
                )
            }
        )
    )
    records = open_event_records(catalog.settings, catalog.state)
    administration = WebhookAdministration(records, queue, catalog.events, actor="ada", now=lambda: NOW)
    administration.add_hook(name="up", upstream="registry.example", proof="hmac")
    administration.add_subscription(position=4, url="http://127.0.0.1:1/events")
    queue.enqueue("up", [UpstreamEvent("team/app", "v1", f"sha256:{'a' * 64}", event_id="one")], 1000.5)
    queue.enqueue("up", [UpstreamEvent("team/app", "v2", event_id=ODD)], 1001.25)
    queue.plan([Run("key", "up", "flow/deployment", {"a": [1, ODD]}, 1002.0)], [1])
    open_budget(catalog.settings.root, "registry.example", catalog.state).change(
        lambda _: Budget(limit=100, remaining=7)
    )


def last_snapshot(settings: Settings) -> int:
    """Return the newest snapshot of the lake."""
    with open_catalog(settings) as catalog:
        return int(str(catalog._lake.read("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')")[0][0]))


def ask(settings: Settings, until: int) -> Mapping[str, object]:
    """Return the answers to many questions; those about the past as of the snapshots up to one."""
    found: dict[str, object] = {}
    with ExitStack() as stack:
        catalog = stack.enter_context(open_catalog(settings))
        queue = stack.enter_context(open_queue(settings, catalog.state))
        read = catalog._lake.read
        for name in (*TABLES, *VIEWS):
            found[name] = sorted(map(repr, read(f"SELECT * FROM {name}")))
        for number in range(2, until + 1):  # the second snapshot has made the tables
            for name in TABLES[: None if number == until else number % 3 == 0]:  # of `records` each third
                rows = read(f"SELECT * FROM {name} AT (VERSION => {number})")
                found[f"{name} at {number}"] = sorted(map(repr, rows))
        found["snapshots"] = read(f"SELECT * FROM ducklake_snapshots('lake') WHERE snapshot_id <= {until} ORDER BY 1")
        for name in ("team/app", "team/other"):
            versions = catalog.history.versions(name)
            found[f"versions of {name}"] = versions
            found[f"content of {name}"] = [catalog.snapshots.get(name, one.number).tags for one in versions]
            found[f"pins of {name}"] = catalog.pins.of(name)
        found["paths"], found["remotes"] = catalog.distributions.all(), catalog.remotes.all()
        found["holds"] = catalog.holds.rules(), catalog.holds.decisions()
        found["watched"] = catalog.watches.read("registry.example/team/app")
        found["quotas"], found["rules"] = catalog.quotas.all(), catalog.retention_rules.all()
        held = catalog._blob_index.database
        found |= {name: sorted(map(repr, held.rows(f"SELECT * FROM {name}"))) for name in HELD}
        found["policy"] = AccessStore(settings, catalog.state).policy.model_dump()
        records = open_event_records(settings, catalog.state).value
        found["records"] = records.model_dump()
        found["cursors"] = {key: queue.cursor(key) for key in records.subscriptions}
        found["queue"] = queue.waiting(), queue.due(2000.0), queue.backlog("up")
        found["budget"] = open_budget(settings.root, "registry.example", catalog.state).read()
        found["query"] = catalog.query.run(
            "SELECT repository, tag, digest FROM tags UNION ALL SELECT digest, size::VARCHAR, '' FROM blobs ORDER BY ALL"
        ).to_pylist()
    return found


def move(source: Settings, target: Settings, reached: Callable[[str], None] = lambda _: None) -> Migration:
    """Run a migration to its end, as the flow does."""
    migration = Migration(source, target, reached=reached)
    if not migration.find_moved():
        migration.begin()
        migration.copy_ahead()
        migration.switch()
    migration.finish()
    return migration


def differing(one: object, other: object) -> list[str]:
    """Return which questions are answered in another way."""
    assert isinstance(one, dict)
    assert isinstance(other, dict)
    return [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
