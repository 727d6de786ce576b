"""Deleting versions: the others stay what they were, in every process, and what nothing names any more is freed as foretold."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.versions.changes import AddManifest, RemoveManifest, RemoveTag, SetTag
from catalog.versions.deletion import SquashReport
from catalog.versions.pins import Pin
from catalog.versions.snapshot import Snapshot, delta_between
from catalog.versions.timeline import Made, Timeline, parse_numbers, plan_squash
from oci.errors import CatalogUnusable, InUse, InvalidInput, NameUnknown, VersionUnknown
from tests.unit.catalog.conftest import commit_to, push_image, stage_image

NAME = "team/app"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def content(snapshot: Snapshot) -> tuple[object, ...]:
    return dict(snapshot.tags), dict(snapshot.manifests), dict(snapshot.blobs)


def delete(catalog: Catalog, *numbers: str, dry_run: bool = False) -> SquashReport:
    return catalog.deletion.delete_versions(NAME, parse_numbers(numbers), actor="alice", now=NOW, dry_run=dry_run)


def history(catalog: Catalog) -> dict[int, tuple[object, ...]]:
    """Seven versions; the image of version 2 goes in 3 and comes again in 5."""
    push_image(catalog, NAME, "a", "one", ("base", "first"))
    push_image(catalog, NAME, "b", "two", ("base", "second"))
    commit_to(catalog, NAME, RemoveManifest(catalog.snapshots.get(NAME).tags["b"]))
    push_image(catalog, NAME, "a", "three", ("base", "third"))
    push_image(catalog, NAME, "b", "two", ("base", "second"))
    commit_to(catalog, NAME, RemoveTag("a"))
    push_image(catalog, NAME, "c", "four")
    return {number: content(catalog.snapshots.get(NAME, number)) for number in range(1, 8)}


def check(catalogs: list[Catalog], expected: dict[int, tuple[object, ...]], gone: set[int]) -> None:
    for catalog in catalogs:
        for number, held in expected.items():
            if number in gone:
                with pytest.raises(VersionUnknown, match=f"no version {number}, it was deleted"):
                    catalog.snapshots.get(NAME, number)
            else:
                assert content(catalog.snapshots.get(NAME, number)) == held, number


@pytest.mark.parametrize("gone", [("3",), ("1",), ("2", "4-5"), ("1-6",)])
def test_the_others_stay_what_they_were(
    catalog: Catalog, open_again: Callable[..., Catalog], gone: tuple[str, ...]
) -> None:
    expected = history(catalog)
    reader = open_again()
    check([reader], expected, set())  # it has all of them in memory
    report = delete(catalog, *gone)
    numbers = {number for some in parse_numbers(gone) for number in some}
    assert report.deleted == sorted(numbers)
    check([catalog, reader, open_again()], expected, numbers)
    rows = catalog.history.versions(NAME)
    left = [row.number for row in reversed(rows)]
    assert left == sorted(set(expected) - numbers)
    assert [row.base for row in reversed(rows)] == [0, *left[:-1]]
    for row in rows:
        changes = catalog.history.changes(NAME, row.number)
        assert row.added == sum(change.action == "add" for change in changes)
        assert row.removed == sum(change.action == "remove" for change in changes)
        delta = delta_between(catalog.snapshots.get(NAME, row.base), catalog.snapshots.get(NAME, row.number))
        assert (delta.added, delta.removed) == (row.added, row.removed)  # nothing that cancels out is left
    catalog.history.children(NAME)
    assert push_image(reader, NAME, "d", "five").version == 8


def test_what_nothing_names_any_more_is_freed_as_was_foretold(catalog: Catalog) -> None:
    history(catalog)
    catalog.maintenance.sweep(grace=-1)
    assert not catalog.maintenance.sweep(grace=-1).freed
    planned = delete(catalog, "1-3", dry_run=True)
    assert (planned.free_blobs, planned.free_bytes) == (0, 0)  # version 4 has them by its base still
    planned = delete(catalog, "1-6", dry_run=True)
    assert planned.dry_run
    assert len(catalog.history.versions(NAME)) == 7
    delete(catalog, "1-6")
    assert not catalog.maintenance.sweep(grace=-1).freed
    for image in list(catalog.snapshots.get(NAME).manifests):
        if image not in catalog.snapshots.get(NAME).tags.values():
            commit_to(catalog, NAME, RemoveManifest(image))
    before = [row.number for row in catalog.history.versions(NAME)][1:]
    planned = delete(catalog, *map(str, before), dry_run=True)
    assert planned.free_blobs
    delete(catalog, *map(str, before))
    freed = catalog.maintenance.sweep(grace=-1)
    assert (len(freed.freed), freed.freed_bytes) == (planned.free_blobs, planned.free_bytes)
    snapshot = catalog.snapshots.get(NAME)
    assert catalog.content.missing({*snapshot.blobs, *snapshot.manifests}) == set()


def test_what_another_repository_holds_is_not_foretold_to_go(catalog: Catalog) -> None:
    push_image(catalog, NAME, "a", "one")
    commit_to(catalog, NAME, RemoveManifest(catalog.snapshots.get(NAME).tags["a"]))
    assert delete(catalog, "1", dry_run=True).free_blobs == 3
    push_image(catalog, "other/app", "a", "one")
    assert delete(catalog, "1", dry_run=True).free_blobs == 0


def test_latest_served_and_pinned_versions_stay(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    expected = history(catalog)
    other = open_again()
    other.distributions.put(Distribution("stable/app", NAME, NOW, NOW, 2), actor="bob")
    other.pins.add(Pin(NAME, 4, "release 1.4", "bob", NOW))
    for numbers, said in ((("7",), "the latest"), (("1-3",), "stable/app"), (("3-5",), "release 1.4")):
        for dry_run in (True, False):
            with pytest.raises(InUse, match=said):
                delete(catalog, *numbers, dry_run=dry_run)
    for numbers in (("9",), ("20-30",), ("0",)):
        with pytest.raises(VersionUnknown):
            delete(catalog, *numbers)
    check([catalog], expected, set())
    other.pins.remove(NAME, 4, actor="bob", now=NOW)
    assert delete(catalog, "3-5").deleted == [3, 4, 5]
    with pytest.raises(VersionUnknown, match="3"):
        other.distributions.put(Distribution("stable/app", NAME, NOW, NOW, 3), actor="bob")
    with pytest.raises(VersionUnknown):
        other.pins.add(Pin(NAME, 3, "", "bob", NOW))
    with pytest.raises(VersionUnknown):
        other.pins.remove(NAME, 4, actor="bob", now=NOW)
    actions = [event.action for event in catalog.events.latest(name=NAME) if event.actor != "tester"]
    assert actions.count("delete-version") == 1
    assert {"pin-version", "unpin-version"} <= set(actions)


def test_an_operation_whose_version_is_gone_is_still_known_as_done(catalog: Catalog) -> None:
    first = stage_image(catalog, NAME, "one")
    done = commit_to(catalog, NAME, AddManifest(first), SetTag("a", first.digest), operation_id="run", resumable=True)
    commit_to(catalog, NAME, RemoveTag("a"))
    assert delete(catalog, "1").merged == {1: 2}
    again = commit_to(catalog, NAME, AddManifest(first), SetTag("a", first.digest), operation_id="run", resumable=True)
    assert (done.version, again.version, again.changed) == (1, 2, False)
    found = catalog.history.find_operation(NAME, "run")
    assert found
    assert found.number == 2


def test_a_version_in_memory_is_no_base_once_it_is_gone(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    """Another process deletes 2 while this one, which has 2 in memory, is about to read 3: image two must not come with it."""
    expected = history(catalog)
    reader = open_again()
    reader.snapshots.get(NAME, 2)
    load, other = reader.snapshots._forward, open_again()

    def deleted_in_between(base: Snapshot, version: int) -> Snapshot | None:
        delete(other, "2")
        return load(base, version)

    reader.snapshots._forward = deleted_in_between  # type: ignore[method-assign]
    assert content(reader.snapshots.get(NAME, 3)) == expected[3]
    reader.snapshots._forward = load  # type: ignore[method-assign]
    check([reader], expected, {2})


def test_the_latest_is_found_although_it_goes_meanwhile(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    push_image(catalog, NAME, "a", "one")
    other = open_again()
    read = catalog.snapshots._read

    def overtaken(name: str, version: int) -> Snapshot:
        if version == 1:
            push_image(other, NAME, "a", "two")
            delete(other, "1")
        return read(name, version)

    catalog.snapshots._kept.clear()
    catalog.snapshots._read = overtaken  # type: ignore[method-assign]
    found = catalog.serving.find(NAME)
    assert found
    assert found.version == 2


def test_a_repository_goes_and_comes_again(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    expected = history(catalog)
    other = open_again()
    check([other], expected, set())
    other.distributions.put(Distribution("stable/app", NAME, NOW, NOW), actor="bob")
    other.pins.add(Pin(NAME, 4, "", "bob", NOW))
    for said in ("stable/app", "pinned"):
        with pytest.raises(InUse, match=said):
            catalog.deletion.delete_repository(NAME, actor="alice", now=NOW)
        if said == "stable/app":
            other.distributions.delete("stable/app", actor="bob")
    other.pins.remove(NAME, 4, actor="bob", now=NOW)
    catalog.maintenance.sweep(grace=-1)
    planned = catalog.deletion.delete_repository(NAME, actor="alice", now=NOW, dry_run=True)
    report = catalog.deletion.delete_repository(NAME, actor="alice", now=NOW)
    assert report.deleted == planned.deleted == list(range(1, 8))
    for each in (catalog, other, open_again()):
        assert not each.snapshots.names()
        assert each.serving.find(NAME) is None
        with pytest.raises(NameUnknown):
            each.snapshots.get(NAME, 3)
        assert each.history.repositories() == []
    freed = catalog.maintenance.sweep(grace=-1)
    assert (len(freed.freed), freed.freed_bytes) == (planned.free_blobs, planned.free_bytes)
    assert freed.freed_bytes > 0
    with pytest.raises(NameUnknown):
        catalog.deletion.delete_repository(NAME, actor="alice", now=NOW)
    assert push_image(other, NAME, "a", "new").version == 8
    for each in (catalog, other, open_again()):
        each.snapshots.refresh()
        assert each.distributions.find(NAME)
        assert each.serving.find(NAME) == each.snapshots.get(NAME, 8)
        with pytest.raises(VersionUnknown):
            each.snapshots.get(NAME, 3)
        assert [row.base for row in each.history.versions(NAME)] == [0]
    assert content(catalog.snapshots.get(NAME))[0].keys() == {"a"}  # type: ignore[attr-defined]


def test_what_others_delete_before_its_maker_hears_of_its_own_commit_is_not_remembered(
    catalog: Catalog, open_again: Callable[..., Catalog]
) -> None:
    other = open_again()
    keep = catalog.snapshots.keep

    def overtaken(*made: object, **numbers: int) -> None:
        push_image(other, NAME, "a", "two")
        delete(other, "1")
        catalog.snapshots.refresh()
        keep(*made, **numbers)  # type: ignore[arg-type]

    catalog.snapshots.keep = overtaken  # type: ignore[method-assign, assignment]
    assert push_image(catalog, NAME, "a", "one").version == 1
    assert catalog.snapshots.get(NAME).version == 2
    with pytest.raises(VersionUnknown):
        catalog.snapshots.get(NAME, 1)


def test_version_numbers_and_ranges() -> None:
    assert parse_numbers(["3", "5-9"]) == (range(3, 4), range(5, 10))
    assert parse_numbers(["9-5"]) == (range(5, 10),)
    for text in ("", "x", "-3", "3-", "1.5"):
        with pytest.raises(InvalidInput):
            parse_numbers([text])
    with pytest.raises(InvalidInput):
        parse_numbers([])


def test_each_version_that_goes_is_merged_into_the_next_that_stays() -> None:
    timeline = Timeline(NAME, [Made(number, NOW, number == 3) for number in range(1, 9)])
    plan = plan_squash(timeline, [range(1, 3), range(5, 7)], served={}, pinned={4: "kept"})
    assert plan.targets == {1: 4, 2: 4, 5: 7, 6: 7}
    assert plan.bases == {4: 0, 7: 4}


def test_a_deletion_that_fails_leaves_no_temporary_table(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    before = history(catalog)
    monkeypatch.setattr("catalog.versions.deletion._PUT_BACK", "INSERT INTO records SELECT * FROM nowhere")
    with pytest.raises(CatalogUnusable):
        delete(catalog, "1")
    assert catalog._lake.read("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'squash%'") == []
    monkeypatch.undo()
    assert {number: content(catalog.snapshots.get(NAME, number)) for number in before} == before
