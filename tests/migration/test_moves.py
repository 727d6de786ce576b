"""A catalogue that moves to PostgreSQL and back answers every question as before; both ends are guarded."""

from pathlib import Path

import psycopg
import pytest

from catalog.catalog import open_catalog
from catalog.commits.commit_log import CommitLog
from catalog.lake.direct.choice import DIRECT
from catalog.migration.migration import Migration
from catalog.webhooks.queue import UpstreamEvent, open_queue
from catalog.webhooks.records import EventRecords, open_event_records
from oci.errors import CatalogMoved, CatalogUnusable, SettingsInvalid
from tests.homes import new_home
from tests.migration.histories import ask, differing, fill, fill_in, last_snapshot, move, settings_of
from tests.postgresql import PostgresServer
from tests.unit.catalog.conftest import push_image

pytestmark = pytest.mark.embedded


def test_all_answers_are_the_same_afterwards_and_after_the_way_back(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    files = fill(tmp_path / "home")
    shared = settings_of(tmp_path / "home", postgres_server.new_database())
    until = last_snapshot(files)
    before = ask(files, until)

    report = move(files, shared).report
    assert report.rows["records"] > 10
    assert differing(before, ask(shared, until)) == []
    with open_catalog(shared) as catalog:
        notes = CommitLog(catalog._lake).read(0, limit=1000)
        assert [note.position for note in notes] == list(range(1, report.snapshot + 1))
        assert push_image(catalog, "team/app", "v9", "on postgresql").version == 7
        push_image(catalog, "team/app", "v9", "once more")
        assert catalog._lake.commit_counts[DIRECT] >= 1
        with open_queue(shared, catalog.state) as queue:
            queue.enqueue("up", [UpstreamEvent("team/app", "v8")], 5000.0)
            assert [one.id for one in queue.waiting()] == [2, 3]
    until = last_snapshot(shared)
    before = ask(shared, until)

    move(shared, files)
    assert differing(before, ask(files, until)) == []
    with open_catalog(files) as catalog, open_queue(files, catalog.state) as queue:
        assert push_image(catalog, "team/app", "v10", "back").version == 9
        queue.enqueue("up", [UpstreamEvent("team/app", "v7")], 5001.0)
        assert [one.id for one in queue.waiting()] == [2, 3, 4]
    with pytest.raises(CatalogMoved, match=r"has moved to sqlite:"), open_catalog(shared) as catalog:
        push_image(catalog, "team/app", "v11", "too late")


def test_parquet_files_and_rows_go_to_the_bucket_and_back(
    tmp_path: Path,
    postgres_server: PostgresServer,
    s3: object,  # its environment counts
) -> None:
    files = fill(tmp_path / "home")
    shared = settings_of(tmp_path / "home", postgres_server.new_database())
    until = last_snapshot(files)
    before = ask(files, until)
    report = move(files, shared).report
    assert report.copied_files == report.files > 5
    assert differing(before, ask(shared, until)) == []
    elsewhere = settings_of(tmp_path / "home", catalog=f"sqlite:{tmp_path}/elsewhere/catalog.sqlite")
    assert move(shared, elsewhere).report.copied_files == report.files
    assert differing(before, ask(elsewhere, until)) == []


def test_the_old_catalogue_is_read_and_refuses_every_change(tmp_path: Path, postgres_server: PostgresServer) -> None:
    files = fill(tmp_path / "home")
    shared = settings_of(tmp_path / "home", postgres_server.new_database())
    with open_catalog(files) as running, open_queue(files, None) as queue:
        move(files, shared)
        for catalog in (running, open_catalog(files)):
            assert catalog.snapshots.get("team/app", 4).tags
            with pytest.raises(CatalogMoved, match=r"has moved to postgresql://entrepot@.*ENTREPOT_CATALOG"):
                push_image(catalog, "team/app", "late", "late")
            with pytest.raises(CatalogMoved):
                catalog.maintenance.sweep(grace=0)
            with pytest.raises(CatalogMoved):
                list(catalog.maintenance.steps(keep_snapshots=0, grace=0))
            with pytest.raises(CatalogMoved):
                catalog._blob_index.grant([("a", "b")])
        with pytest.raises(CatalogMoved):
            queue.enqueue("up", [UpstreamEvent("team/app", "late")], 1.0)
        with pytest.raises(CatalogMoved):
            open_event_records(files).update(lambda _: EventRecords())
        catalog.close()
    back = settings_of(tmp_path / "home", catalog=f"sqlite:{tmp_path}/back/catalog.sqlite")
    with open_catalog(shared) as running, open_queue(shared, running.state) as queue:
        move(shared, back)
        with pytest.raises(CatalogMoved, match=r"has moved to sqlite:"):
            push_image(running, "team/app", "late", "late")
        with pytest.raises(CatalogMoved):
            running._blob_index.grant([("a", "b")])
        with pytest.raises(CatalogMoved):
            queue.enqueue("up", [UpstreamEvent("team/app", "late")], 1.0)
        with pytest.raises(CatalogMoved):
            open_event_records(shared, running.state).update(lambda _: EventRecords())
        assert running.history.versions("team/app")


def test_a_snapshot_that_comes_although_the_lock_is_held_ends_the_move(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    files = fill(tmp_path / "home")
    url = postgres_server.new_database()
    shared = settings_of(tmp_path / "home", url)
    move(files, shared)

    def intrude(point: str) -> None:
        if point == "compared":
            with psycopg.connect(url, password=PostgresServer.password) as connection:
                connection.execute(
                    "INSERT INTO public.ducklake_snapshot SELECT snapshot_id + 1, snapshot_time, schema_version, "
                    "next_catalog_id, next_file_id FROM public.ducklake_snapshot ORDER BY 1 DESC LIMIT 1"
                )

    with pytest.raises(CatalogUnusable, match="was written while it was held"):
        move(shared, files, intrude)
    assert Migration(shared, files).find_moved() is False


def test_what_is_not_ours_or_in_use_is_refused_and_left(tmp_path: Path, postgres_server: PostgresServer) -> None:
    files, other = fill(tmp_path / "home"), settings_of(new_home(tmp_path / "other"))
    shared = settings_of(tmp_path / "home", postgres_server.new_database())
    taken = settings_of(tmp_path / "taken", postgres_server.new_database())
    fill_in(taken)
    until = last_snapshot(taken)
    before = ask(taken, until)
    with pytest.raises(CatalogUnusable, match="holds a catalogue already"):
        move(files, settings_of(tmp_path / "home", taken.catalog))
    assert differing(before, ask(taken, until)) == []
    Migration(files, shared).begin()
    with pytest.raises(CatalogMoved, match="still arriving"):
        open_catalog(shared)
    with pytest.raises(CatalogUnusable, match="another catalogue is arriving"):
        Migration(other, settings_of(tmp_path / "other", shared.catalog)).begin()
    moved_blobs = {"storage": f"file:{tmp_path}/blobs-elsewhere"}
    with pytest.raises(CatalogUnusable, match="blobs are not moved"):
        Migration(
            settings_of(tmp_path / "home", **moved_blobs), settings_of(tmp_path / "home", shared.catalog, **moved_blobs)
        ).begin()
    move(files, shared)
    with pytest.raises(CatalogUnusable, match="holds a catalogue already"):
        Migration(other, settings_of(tmp_path / "other", shared.catalog)).begin()
    with pytest.raises(CatalogUnusable, match="holds a catalogue already"):
        Migration(shared, settings_of(tmp_path / "home", catalog=f"sqlite:{other.catalog_file}")).begin()
    assert move(files, shared).report.was_moved
    with pytest.raises(CatalogMoved, match="has moved to"):
        move(files, settings_of(tmp_path / "home", postgres_server.new_database()))
    for one in (files, shared):
        with pytest.raises(SettingsInvalid, match="SQLite to PostgreSQL or back"):
            Migration(one, one)


def test_a_dry_run_changes_nothing(tmp_path: Path, postgres_server: PostgresServer) -> None:
    files = fill(tmp_path / "home")
    shared = settings_of(tmp_path / "home", postgres_server.new_database())
    until = last_snapshot(files)
    names = sorted(path for path in files.root.rglob("*") if "-" not in path.suffix)
    migration = Migration(files, shared)
    migration.begin(dry_run=True)
    migration.count()
    assert migration.report.rows["records"] > 10
    assert migration.report.rows["links"] > 5
    assert last_snapshot(files) == until
    assert sorted(path for path in files.root.rglob("*") if "-" not in path.suffix) == names
    found = postgres_server.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'entrepot'")
    assert found == [(0,)], "in the server's own database"
    with open_catalog(files) as catalog:
        assert push_image(catalog, "team/app", "v9", "still here").version == 7


@pytest.mark.parametrize(
    "table",
    [
        "links",
        "ducklake_data_file",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("records", "documents", "seen")),
    ],
)
def test_what_differs_keeps_the_source_in_charge(
    tmp_path: Path, postgres_server: PostgresServer, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fill(tmp_path / "home")
    url = postgres_server.new_database()
    shared = settings_of(tmp_path / "home", url)
    sabotage = {
        "links": "DELETE FROM entrepot.links WHERE ctid = (SELECT min(ctid) FROM entrepot.links)",
        "records": "UPDATE public.ducklake_data_file SET row_id_start = row_id_start + 1, end_snapshot = 3",
        "documents": """UPDATE entrepot.documents SET body = replace(body, 'registry.example', 'registry.examples')""",
        "seen": "UPDATE entrepot.seen SET at = at + 1",
        "ducklake_data_file": "DELETE FROM public.ducklake_data_file WHERE end_snapshot IS NULL",
    }[table]

    def spoil(point: str) -> None:
        if point == "copied":
            with psycopg.connect(url, password=PostgresServer.password) as connection:
                assert connection.execute(sabotage.encode()).rowcount > 0

    with pytest.raises(CatalogUnusable, match=rf"{table}.*not the same.*stays in charge"):
        move(files, shared, spoil)
    with pytest.raises(CatalogMoved):
        open_catalog(shared)
    with open_catalog(files) as catalog:
        assert push_image(catalog, "team/app", "v9", "still here").version == 7
    until = last_snapshot(files)
    before = ask(files, until)
    move(files, shared)
    assert differing(before, ask(shared, until)) == []
