"""Commits make versions: one for each operation that changes something, none otherwise."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from catalog.catalog import Catalog
from catalog.commits.commit import _Waiting
from catalog.versions.changes import AddManifest, Commit, LatestIs, RemoveManifest, RemoveTag, SetTag
from catalog.versions.snapshot import Snapshot, delta_between
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import (
    CatalogUnavailable,
    CatalogUnusable,
    Conflict,
    EntrepotError,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    VersionUnknown,
)
from tests.servers import wait_until
from tests.unit.catalog.conftest import commit_to, push_image, stage_blob, stage_image, stage_index, stage_manifest


def test_a_push_makes_one_version_with_its_closure(catalog: Catalog) -> None:
    result = push_image(catalog, "team/app", "v1", "one", ("shared", "own"))
    assert (result.version, result.changed) == (1, True)
    snapshot = catalog.snapshots.get("team/app")
    assert snapshot.tags.keys() == {"v1"}
    assert len(snapshot.manifests) == 1
    assert snapshot.blobs.keys() >= {Digest.of(b"shared"), Digest.of(b"own")}
    row = catalog.history.version("team/app", 1)
    assert (row.base, row.operation, row.operation_id, row.actor) == (0, "test", "one", "tester")
    assert (row.tags, row.manifests, row.blobs, row.added, row.removed) == (1, 1, 3, 5, 0)
    assert (
        row.size_bytes
        == snapshot.size_bytes
        == sum(change.size for change in catalog.history.changes("team/app", 1))
        - (
            next(iter(snapshot.manifests.values())).size  # counted for the tag as well
        )
    )


def test_what_changes_nothing_makes_no_version(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "v1", "one")
    again = push_image(catalog, "team/app", "v1", "one")
    assert (again.version, again.changed) == (1, False)
    assert not commit_to(catalog, "team/app", RemoveTag("absent"), RemoveManifest(Digest.of(b"absent"))).changed
    assert len(catalog.history.versions("team/app")) == 1


def test_a_commit_of_nothing_makes_no_repository(catalog: Catalog) -> None:
    assert commit_to(catalog, "team/none", RemoveTag("absent")).version == 0
    with pytest.raises(NameUnknown):
        catalog.snapshots.get("team/none")
    assert catalog.snapshots.names() == ()


def test_a_moved_tag_keeps_the_old_manifest_and_every_version(catalog: Catalog) -> None:
    first = push_image(catalog, "team/app", "latest", "one").snapshot
    second = push_image(catalog, "team/app", "latest", "two").snapshot
    assert second.tags["latest"] != first.tags["latest"]
    assert len(second.manifests) == 2
    diff = delta_between(first, second)
    assert diff.tags_removed == dict(first.tags)
    assert diff.tags_added == dict(second.tags)
    assert [(change.action, change.kind) for change in catalog.history.changes("team/app", 2)][:2] == [
        ("remove", "tag"),
        ("add", "tag"),
    ]
    assert catalog.snapshots.get("team/app", 1) == first


def test_removing_a_manifest_takes_its_tags_and_the_blobs_nobody_else_needs(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one", ("shared", "own of one"))
    push_image(catalog, "team/app", "b", "two", ("shared", "own of two"))
    gone = catalog.snapshots.get("team/app").tags["a"]
    snapshot = commit_to(catalog, "team/app", RemoveManifest(gone)).snapshot
    assert snapshot.tags.keys() == {"b"}
    assert Digest.of(b"shared") in snapshot.blobs
    assert Digest.of(b"own of two") in snapshot.blobs
    assert Digest.of(b"own of one") not in snapshot.blobs
    assert len(snapshot.blobs) == 3


def test_a_blob_that_a_new_manifest_needs_survives_the_removal_of_the_old_one(catalog: Catalog) -> None:
    old = push_image(catalog, "team/app", "a", "one", ("shared",)).snapshot.tags["a"]
    new = stage_image(catalog, "team/app", "two", ("shared",))
    snapshot = commit_to(catalog, "team/app", RemoveManifest(old), AddManifest(new), SetTag("a", new.digest)).snapshot
    assert Digest.of(b"shared") in snapshot.blobs
    assert snapshot == catalog.snapshots.get("team/app")


def test_removing_a_tag_keeps_its_manifest(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one")
    snapshot = commit_to(catalog, "team/app", RemoveTag("a")).snapshot
    assert (len(snapshot.tags), len(snapshot.manifests)) == (0, 1)


def test_a_tag_needs_its_manifest(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one")
    with pytest.raises(ManifestUnknown, match="tag 'b'"):
        commit_to(catalog, "team/app", SetTag("b", Digest.of(b"absent")))


def test_missing_parts_are_all_named(catalog: Catalog) -> None:
    child = {"mediaType": mediatypes.OCI_LAYER_GZIP, "size": 3}
    document = {
        "schemaVersion": 2,
        "config": {"mediaType": mediatypes.OCI_CONFIG, **stage_blob(catalog, "team/app", b"{}")},
        "layers": [{**child, "digest": Digest.of(b"x")}, {**child, "digest": Digest.of(b"y")}],
    }
    descriptor = stage_manifest(catalog, "team/app", document, mediatypes.OCI_MANIFEST)
    with pytest.raises(ManifestBlobUnknown) as caught:
        commit_to(catalog, "team/app", AddManifest(descriptor))
    assert caught.value.detail == {"missing": [Digest.of(b"x"), Digest.of(b"y")]}
    assert catalog.snapshots.find("team/app") is None


def test_a_misstated_size_is_refused(catalog: Catalog) -> None:
    document = {
        "schemaVersion": 2,
        "config": {"mediaType": mediatypes.OCI_CONFIG, **stage_blob(catalog, "team/app", b"{}"), "size": 3},
        "layers": [],
    }
    with pytest.raises(ManifestInvalid, match="3 bytes; it has 2"):
        commit_to(
            catalog, "team/app", AddManifest(stage_manifest(catalog, "team/app", document, mediatypes.OCI_MANIFEST))
        )


def test_an_index_needs_its_children_unless_sparse(catalog: Catalog) -> None:
    here = stage_image(catalog, "team/app", "here")
    absent = Descriptor(mediatypes.OCI_MANIFEST, Digest.of(b"absent"), 10)
    index = stage_index(catalog, "team/app", [here, absent])
    with pytest.raises(ManifestBlobUnknown, match=absent.digest):
        commit_to(catalog, "team/app", AddManifest(here), AddManifest(index))
    snapshot = commit_to(catalog, "team/app", AddManifest(here), AddManifest(index), allow_sparse=True).snapshot
    assert snapshot.manifests.keys() == {here.digest, index.digest}


def test_referrers_follow_from_subjects(catalog: Catalog) -> None:
    subject = stage_image(catalog, "team/app", "subject")
    referrer = stage_index(catalog, "team/app", [], subject=subject.to_json(), artifactType="application/x.sbom")
    commit_to(catalog, "team/app", AddManifest(subject), AddManifest(referrer))
    snapshot = catalog.snapshots.get("team/app")
    assert snapshot.referrers == {subject.digest: (referrer.digest,)}
    assert snapshot.manifests[referrer.digest].artifact_type == "application/x.sbom"


def test_a_requirement_that_no_longer_holds_is_a_conflict(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one")
    with pytest.raises(Conflict, match=r"at version 1, but .* planned on 0"):
        commit_to(catalog, "team/app", RemoveTag("a"), requirements=(LatestIs(0),))
    assert commit_to(catalog, "team/app", RemoveTag("a"), requirements=(LatestIs(1),)).version == 2


def test_an_operation_that_has_landed_is_not_made_twice(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    descriptor = stage_image(catalog, "team/app", "one")
    changes = (AddManifest(descriptor), SetTag("a", descriptor.digest))
    first = commit_to(catalog, "team/app", *changes, operation_id="run-1", resumable=True)
    push_image(catalog, "team/app", "a", "two")
    again = commit_to(
        open_again(), "team/app", *changes, operation_id="run-1", resumable=True, requirements=(LatestIs(0),)
    )
    assert (again.version, again.changed) == (first.version, False)
    assert again.snapshot == first.snapshot
    assert len(catalog.history.versions("team/app")) == 2
    found = catalog.history.find_operation("team/app", "run-1")
    assert found is not None
    assert found.number == 1


def test_operations_that_have_landed_are_found_for_a_whole_group_with_one_question(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = []
    for number in range(6):
        name = f"team/app-{number}"
        descriptor = stage_image(catalog, name, name)
        changes = (AddManifest(descriptor), SetTag("a", descriptor.digest))
        commit = Commit(name, "", changes, "run 1" if number % 2 else "run 2", "", datetime.now(UTC), resumable=True)
        group.append(_Waiting(commit))
    for number in (0, 1):
        commit_to(catalog, f"team/app-{number}", *group[number].commit.changes, operation_id="run 1", resumable=True)
        push_image(catalog, f"team/app-{number}", "a", "another")
    asked: list[str] = []
    lake = catalog.commits._lake
    read = lake.read

    def noted(text: str, *rest: Any) -> Any:
        asked.append(text)
        return read(text, *rest)

    monkeypatch.setattr(lake, "read", noted)
    catalog.commits._commit_group(group)
    assert [one.error for one in group] == [None] * 6
    # the third version of the first is another operation's; the second had landed
    assert [(one.result.version, one.result.changed) for one in group if one.result] == [
        (3, True), (1, False), (1, True), (1, True), (1, True), (1, True),
    ]  # fmt: skip
    assert len([text for text in asked if "operation_id" in text]) == 2  # for all, and for the one that had landed


def questions_of(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the text of each question to the lake is added from now on."""
    asked: list[str] = []
    lake = catalog.commits._lake
    read = lake.read

    def noted(text: str, *rest: Any) -> Any:
        asked.append(text)
        return read(text, *rest)

    monkeypatch.setattr(lake, "read", noted)
    return asked


def test_first_versions_of_repositories_cost_no_question_whatever_is_there(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_image(catalog, "team/app", "a", "one")
    staged = {name: stage_image(catalog, name, name) for name in ("team/new-1", "team/new-2")}
    asked = questions_of(catalog, monkeypatch)
    for name, descriptor in staged.items():
        changes = (AddManifest(descriptor), SetTag("a", descriptor.digest))
        assert commit_to(catalog, name, *changes, operation_id="run", resumable=True).version == 1
    assert asked == []


def test_only_versions_are_asked_for_that_nobody_has_looked_at(
    catalog: Catalog, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    push_image(catalog, "team/app", "a", "one")
    descriptor = stage_image(catalog, "team/app", "two")
    changes = (AddManifest(descriptor), SetTag("a", descriptor.digest))
    asked = questions_of(catalog, monkeypatch)
    made = commit_to(catalog, "team/app", *changes, operation_id="run", resumable=True, checked_until=1)
    assert (made.version, asked) == (2, [])
    late = SetTag("b", descriptor.digest)
    again = commit_to(open_again(), "team/app", late, operation_id="run", resumable=True, checked_until=1)
    assert (again.version, again.changed) == (2, False)  # another process of the operation has made it meanwhile


def test_an_operation_whose_repository_was_deleted_since_is_not_done_again(
    catalog: Catalog, open_again: Callable[..., Catalog]
) -> None:
    descriptor = stage_image(catalog, "team/app", "one")
    changes = (AddManifest(descriptor), SetTag("a", descriptor.digest))
    commit_to(catalog, "team/app", *changes, operation_id="run", resumable=True)
    catalog.deletion.delete_repository("team/app", actor="tester", now=datetime.now(UTC))
    for reader in (catalog, open_again()):
        again = commit_to(reader, "team/app", *changes, operation_id="run", resumable=True)
        assert (again.version, again.changed) == (0, False)


def test_versions_out_of_range_are_unknown(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one")
    assert catalog.snapshots.get("team/app", 0).tags == {}
    for number in (-1, 2):
        with pytest.raises(VersionUnknown, match="latest is 1"):
            catalog.snapshots.get("team/app", number)
    with pytest.raises(VersionUnknown):
        catalog.history.changes("team/app", 2)


def test_commits_of_many_threads_are_grouped_and_each_gets_its_own_answer(catalog: Catalog) -> None:
    descriptors = [stage_image(catalog, "team/app", f"seed {number}") for number in range(24)]
    barrier, results, errors = threading.Barrier(24), [], []

    def act(number: int) -> None:
        barrier.wait()
        try:
            digest = descriptors[number].digest if number % 6 else Digest.of(b"absent")
            change = SetTag(f"t{number}", digest)
            results.append(commit_to(catalog, "team/app", AddManifest(descriptors[number]), change).version)
        except EntrepotError as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(1, 21))
    assert [type(error) for error in errors] == [ManifestUnknown] * 4
    commits = catalog.query.run("SELECT count(*) AS n FROM snapshots() WHERE commit_extra_info IS NOT NULL").to_pylist()
    assert commits[0]["n"] < 20
    assert len(catalog.snapshots.get("team/app").tags) == 20


def test_a_large_commit_reads_back_as_it_was(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    descriptors = [stage_image(catalog, "team/app", f"seed {number}", (f"l{number}", "base")) for number in range(120)]
    changes = [
        change
        for number, descriptor in enumerate(descriptors)
        for change in (AddManifest(descriptor), SetTag(f"t{number}", descriptor.digest))
    ]
    result = commit_to(catalog, "team/app", *changes)
    assert open_again().snapshots.get("team/app") == result.snapshot
    rows = catalog.query.run("SELECT labels['seed'] AS seed, os, kind FROM manifests ORDER BY seed").to_pylist()
    assert len(rows) == 120
    assert rows[0] == {"seed": "seed 0", "os": "linux", "kind": "image"}


def test_children_and_descriptors_tell_what_a_manifest_is_made_of(catalog: Catalog) -> None:
    image = stage_image(catalog, "team/app", "one", ("x", "y", "x"))
    empty = stage_index(catalog, "team/app", [])
    index = stage_index(catalog, "team/app", [image])
    commit_to(catalog, "team/app", AddManifest(image), AddManifest(index), AddManifest(empty))
    children = catalog.history.children("team/app")
    assert children[index.digest] == (image.digest,)
    assert children[empty.digest] == ()
    assert children[image.digest][1:] == (Digest.of(b"x"), Digest.of(b"y"))
    assert catalog.history.children("team/app", [index.digest]) == {index.digest: (image.digest,)}
    rows = catalog.query.run("SELECT parent, position, role, size FROM descriptors ORDER BY role, position").to_pylist()
    assert [(row["role"], row["position"]) for row in rows] == [
        ("config", 0),
        ("layer", 1),
        ("layer", 2),
        ("layer", 3),
        ("manifest", 0),
    ]
    assert rows[-1] == {"parent": index.digest, "position": 0, "role": "manifest", "size": image.size}


def test_a_lock_held_for_too_long_is_a_clear_error(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    other = open_again(lock_timeout=0.2)
    with catalog._lake.write(), pytest.raises(CatalogUnusable, match="ENTREPOT_LOCK_TIMEOUT"):
        commit_to(other, "team/app", AddManifest(stage_image(other, "team/app", "one")))
    assert push_image(other, "team/app", "a", "one").version == 1


def test_a_database_that_does_not_answer_is_asked_once_for_all_that_wait(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try may take as long as a connection takes to fail, and the queue waits meanwhile."""
    asked: list[int] = []

    def fail() -> None:
        asked.append(1)
        raise CatalogUnavailable("no answer")

    monkeypatch.setattr(catalog._lake, "write", fail)
    group = [_Waiting(Commit("team/app", "", (), "", "", datetime.now(UTC))) for _ in range(8)]
    catalog.commits._commit_group(group)
    assert len(asked) == 1
    assert all(isinstance(one.error, CatalogUnavailable) for one in group)


def test_when_the_thread_that_writes_for_others_is_ended_another_goes_on(catalog: Catalog) -> None:
    """Ctrl-C reaches one thread; those whose commits it had taken must not wait for it for ever."""

    def end(_latest: Snapshot) -> Commit:
        raise KeyboardInterrupt

    names, ended = ("team/one", "team/two"), list[str]()
    images = {name: stage_image(catalog, name, name) for name in names}

    def act(name: str) -> None:
        try:
            commit_to(catalog, name, AddManifest(images[name]))
        except KeyboardInterrupt:
            ended.append(name)

    committer = catalog.commits
    threads = [threading.Thread(target=act, args=(name,), daemon=True) for name in names]
    committer._leader = -1  # another thread leads
    committer._queue.append(_Waiting(Commit("team/ended", "", (), "", "", datetime.now(UTC)), end))
    for thread in threads:
        thread.start()
    wait_until(lambda: len(committer._queue) == 3, 20, "both wait")
    with committer._guard:
        committer._leader = 0
        committer._guard.notify_all()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert len(ended) == 1
    assert all(catalog.snapshots.get(name).version == 1 for name in names)


def test_writers_that_commit_again_and_again_share_transactions(catalog: Catalog) -> None:
    writers, each = 8, 6
    staged = [
        [stage_image(catalog, f"team/app-{writer}", f"{writer} {number}") for number in range(each)]
        for writer in range(writers)
    ]
    before = sum(catalog.commits.ways.values())

    def write(writer: int) -> None:
        for descriptor in staged[writer]:
            commit_to(catalog, f"team/app-{writer}", AddManifest(descriptor))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [catalog.snapshots.get(f"team/app-{writer}").version for writer in range(writers)] == [each] * writers
    assert sum(catalog.commits.ways.values()) - before <= writers * each / 2
