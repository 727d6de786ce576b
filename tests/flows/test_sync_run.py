"""The course of a sync without Prefect and without a network: what is asked of upstream, and what the versions hold."""

import asyncio

import pytest

from catalog.catalog import Catalog
from catalog.quotas.quotas import Quota
from catalog.versions.changes import CommitResult
from flows.runs.operation import MAX_PLANS
from flows.sync.committing import commit_version
from flows.sync.context import SyncContext
from flows.sync.copying import Copied
from flows.sync.procedure import SyncSteps, run_sync
from flows.sync.resolution import TagsFailed
from flows.sync.selection import list_source_tags
from oci import mediatypes
from oci.errors import (
    Conflict,
    ManifestBlobUnknown,
    QuotaExceeded,
    RemoteCorrupt,
    RemoteNotFound,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests.flows.conftest import NAME, REMOTE, MemoryUpstream, Syncer
from tests.unit.catalog.conftest import push_image

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_first_sync_brings_every_tag(sync: Syncer, upstream: MemoryUpstream) -> None:
    images = {tag: upstream.image(tag).digest for tag in ("v1", "v2", "latest")}
    result = await sync()
    assert (result.version, result.changed) == (1, True)
    assert result.counts == {
        "added": 3,
        "moved": 0,
        "completed": 0,
        "unchanged": 0,
        "removed": 0,
        "failed": 0,
        "refused": 0,
    }
    assert sync.snapshot().tags == images
    row = sync.catalog.history.version(NAME, 1)
    assert (row.operation, row.operation_id, row.flow_run_id, row.actor) == (
        "sync",
        "run-1",
        "run-1",
        "sync-repository",
    )
    assert result.moved_items == 9
    assert result.moved_bytes == row.size_bytes
    assert {item.tag: item.size > 0 for item in result.items} == dict.fromkeys(images, True)


async def test_an_unchanged_sync_asks_one_list_and_one_head_per_tag(sync: Syncer, upstream: MemoryUpstream) -> None:
    for number in range(20):
        upstream.image(f"v{number}")
    await sync(mode="mirror")
    upstream.calls.clear()
    result = await sync(mode="mirror", batch_size=7)
    assert not result.changed
    assert result.version == 1
    assert result.counts["unchanged"] == 20
    assert {method: upstream.count(method) for method, _ in upstream.calls} == {"tags": 1, "resolve": 20}
    assert len(sync.catalog.history.versions(NAME)) == 1


async def test_only_what_changed_is_fetched(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("stays")
    upstream.image("moves", "before")
    await sync()
    upstream.calls.clear()
    moved = upstream.image("moves", "after")
    result = await sync()
    assert result.counts["moved"] == 1
    assert sync.snapshot().tags["moves"] == moved.digest
    assert upstream.count("read_manifest") == 1
    assert upstream.count("referrers") == 1


async def test_two_tags_of_one_digest_are_copied_once(sync: Syncer, upstream: MemoryUpstream) -> None:
    image = upstream.image("v1")
    upstream.store.put_tag("latest", image.digest)
    result = await sync()
    assert result.counts["added"] == 2
    assert upstream.count("read_manifest") == 1
    assert sync.snapshot().tags == {"v1": image.digest, "latest": image.digest}


async def test_an_index_its_children_and_its_referrers_come_along(sync: Syncer, upstream: MemoryUpstream) -> None:
    store = upstream.store
    platforms = [Platform("linux", "amd64"), Platform("linux", "arm64")]
    children = [(pack_image(store, [{"arch": str(platform)}], platform=platform), platform) for platform in platforms]
    index = pack_index(store, children)
    store.put_tag("multi", index.digest)
    docker = pack_image(store, [{"file": "docker"}], docker=True)
    store.put_tag("docker", docker.digest)
    sbom = pack_artifact(store, "application/spdx+json", [("application/spdx+json", b"{}")], subject=index)
    await sync()
    snapshot = sync.snapshot()
    assert set(snapshot.manifests) == {
        index.digest,
        docker.digest,
        sbom.digest,
        *(child.digest for child, _ in children),
    }
    assert snapshot.referrers == {index.digest: (sbom.digest,)}
    assert snapshot.manifests[docker.digest].media_type == mediatypes.DOCKER_MANIFEST


async def test_mirror_drops_what_upstream_dropped(sync: Syncer, upstream: MemoryUpstream) -> None:
    kept, gone = upstream.image("kept"), upstream.image("gone")
    note = pack_artifact(upstream.store, "application/x-note", [("text/plain", b"of gone")], subject=gone)
    await sync()
    assert note.digest in sync.snapshot().manifests
    del upstream.store.tagged["gone"]
    assert not (await sync()).changed  # additive
    result = await sync(mode="mirror")
    assert result.counts["removed"] == 1
    assert sync.snapshot().tags == {"kept": kept.digest}
    assert set(sync.snapshot().manifests) == {kept.digest}
    assert set(sync.snapshot().blobs) == {blob.digest for _, blob in kept.children()}


async def test_referrers_of_referrers_and_of_children_come_along(sync: Syncer, upstream: MemoryUpstream) -> None:
    child = pack_image(upstream.store, [{"file": "child"}])
    index = pack_index(upstream.store, [(child, Platform("linux", "amd64"))])
    upstream.store.put_tag("multi", index.digest)
    sbom = pack_artifact(upstream.store, "application/x-sbom", [("text/plain", b"sbom")], subject=child)
    signature = pack_artifact(upstream.store, "application/x-signature", [("text/plain", b"signed")], subject=sbom)
    await sync(mode="mirror")
    assert set(sync.snapshot().manifests) == {one.digest for one in (child, index, sbom, signature)}
    assert not (await sync(mode="mirror")).changed


async def test_a_tag_in_the_remote_is_not_listed(sync: Syncer, upstream: MemoryUpstream) -> None:
    wanted = upstream.image("v1")
    upstream.image("v2")
    await sync(remote=f"{REMOTE}:v1")
    assert sync.snapshot().tags == {"v1": wanted.digest}
    assert upstream.count("tags") == 0
    other = upstream.image("v3")
    await sync(remote=f"{REMOTE}@{other.digest}")
    assert other.digest in sync.snapshot().manifests
    assert "v3" not in sync.snapshot().tags
    await sync(remote=f"{REMOTE}:pinned@{other.digest}")
    assert sync.snapshot().tags["pinned"] == other.digest


async def test_a_dry_run_says_what_would_move_and_writes_nothing(sync: Syncer, upstream: MemoryUpstream) -> None:
    image = upstream.image("v1")
    upstream.store.put_tag("also", image.digest)
    result = await sync(dry_run=True)
    assert (result.version, result.changed, result.dry_run) == (0, False, True)
    assert result.moved_bytes == image.size + sum(blob.size for _, blob in image.children())
    assert upstream.count("read_blob") == 0
    assert sync.catalog.snapshots.find(NAME) is None
    assert not any(sync.catalog.content.linked(NAME, blob.digest) for _, blob in image.children())
    done = await sync()
    assert done.moved_bytes == result.moved_bytes


# --- bad tags --------------------------------------------------------------------------------------------------


async def test_one_bad_tag_fails_the_sync_and_changes_nothing(sync: Syncer, upstream: MemoryUpstream) -> None:
    bad = upstream.image("bad")
    upstream.image("good")
    upstream.faults["read_manifest", bad.digest] = RemoteCorrupt("sent nonsense", registry="upstream.example")
    with pytest.raises(TagsFailed, match=r"bad: upstream upstream\.example: sent nonsense") as caught:
        await sync()
    assert set(caught.value.failed) == {"bad"}
    assert sync.catalog.snapshots.find(NAME) is None


async def test_skip_makes_a_version_of_the_good_tags(sync: Syncer, upstream: MemoryUpstream) -> None:
    bad = upstream.image("bad")
    good = upstream.image("good")
    upstream.faults["read_manifest", bad.digest] = RemoteCorrupt("sent nonsense")
    upstream.store.tagged["ghost"] = upstream.store.tagged["bad"]
    upstream.faults["resolve", "ghost"] = RemoteNotFound("no such manifest")
    result = await sync(on_error="skip")
    assert result.failed == {"bad": "sent nonsense", "ghost": "no such manifest"}
    assert sync.snapshot().tags == {"good": good.digest}


async def test_a_mirror_keeps_what_a_failed_tag_held(sync: Syncer, upstream: MemoryUpstream) -> None:
    before = upstream.image("tag", "before")
    upstream.image("other")
    await sync(mode="mirror")
    after = upstream.image("tag", "after")
    upstream.faults["read_manifest", after.digest] = RemoteCorrupt("sent nonsense")
    third = upstream.image("third")
    result = await sync(mode="mirror", on_error="skip")
    assert result.failed == {"tag": "sent nonsense"}
    assert sync.snapshot().tags["tag"] == before.digest
    assert sync.snapshot().tags["third"] == third.digest
    assert before.digest in sync.snapshot().manifests


async def test_skip_of_everything_is_a_failure(sync: Syncer, upstream: MemoryUpstream) -> None:
    bad = upstream.image("bad")
    upstream.faults["read_manifest", bad.digest] = RemoteCorrupt("sent nonsense")
    with pytest.raises(TagsFailed):
        await sync(on_error="skip")


async def test_a_missing_child_of_an_index_fails_its_tag_alone(sync: Syncer, upstream: MemoryUpstream) -> None:
    store = upstream.store
    child = pack_image(store, [{"file": "child"}])
    index = pack_index(store, [(child, Platform("linux", "amd64"))])
    store.put_tag("multi", index.digest)
    good = upstream.image("good")
    del store.manifests[child.digest]
    result = await sync(on_error="skip")
    assert str(child.digest) in result.failed["multi"]
    assert sync.snapshot().tags == {"good": good.digest}


async def test_a_referrer_that_is_listed_but_missing_is_noted(sync: Syncer, upstream: MemoryUpstream) -> None:
    image = upstream.image("v1")
    note = pack_artifact(upstream.store, "application/x-note", [("text/plain", b"x")], subject=image)
    upstream.faults["read_manifest", note.digest] = RemoteNotFound("gone")
    result = await sync()
    assert set(sync.snapshot().manifests) == {image.digest}
    assert len(result.notes) == 1
    assert str(note.digest) in result.notes[0]


async def test_refused_credentials_end_the_sync_at_once(sync: Syncer, upstream: MemoryUpstream) -> None:
    for number in range(30):
        upstream.image(f"v{number}")
        upstream.faults["resolve", f"v{number}"] = RemoteUnauthorized("wrong password", status=401)
    with pytest.raises(RemoteUnauthorized):
        await sync(on_error="skip")
    assert upstream.count("resolve") < 30


async def test_an_upstream_that_has_gone_away_is_not_asked_for_every_tag(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    for number in range(100):
        upstream.image(f"v{number:03}")
        upstream.faults["resolve", f"v{number:03}"] = RemoteUnavailable("cannot be reached")
    with pytest.raises(RemoteUnavailable):
        await sync(on_error="skip")
    assert upstream.count("resolve") < 40


# --- tags that move, and others who write ----------------------------------------------------------------------


async def test_a_tag_that_moves_after_it_was_resolved_keeps_the_digest_it_had(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    first = upstream.image("tag", "first")

    async def move() -> None:
        upstream.image("tag", "second")

    upstream.faults["read_manifest", first.digest] = move
    await sync()
    assert sync.snapshot().tags == {"tag": first.digest}


async def test_a_tag_whose_digest_vanishes_is_resolved_once_more(sync: Syncer, upstream: MemoryUpstream) -> None:
    first = upstream.image("tag", "first")

    async def replace() -> None:
        upstream.store.manifests.pop(first.digest, None)
        upstream.image("tag", "second")

    upstream.faults["read_manifest", first.digest] = replace
    result = await sync()
    assert sync.snapshot().tags == {"tag": upstream.store.tagged["tag"]}
    assert result.items[0].digest == upstream.store.tagged["tag"] != first.digest
    assert upstream.calls["resolve", "tag"] == 2


async def test_a_tag_that_vanishes_altogether_is_a_bad_tag(sync: Syncer, upstream: MemoryUpstream) -> None:
    first = upstream.image("tag", "first")
    good = upstream.image("good")

    async def remove() -> None:
        upstream.store.manifests.pop(first.digest, None)
        upstream.store.tagged.pop("tag", None)

    upstream.faults["read_manifest", first.digest] = remove
    result = await sync(on_error="skip")
    assert set(result.failed) == {"tag"}
    assert sync.snapshot().tags == {"good": good.digest}


async def test_two_syncs_of_one_repository_at_once(sync: Syncer, upstream: MemoryUpstream) -> None:
    images = {f"v{number}": upstream.image(f"v{number}").digest for number in range(10)}
    results = await asyncio.gather(sync(mode="mirror"), sync(mode="mirror"))
    assert sorted(result.changed for result in results) == [False, True]
    assert sync.snapshot().tags == images
    assert [row.number for row in sync.catalog.history.versions(NAME)] == [1]


async def test_a_version_made_meanwhile_leads_to_a_new_plan_and_no_new_copy(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    upstream.image("shared", "one")
    other = upstream.image("other")
    await sync(remote=f"{REMOTE}:shared")
    two = upstream.image("shared", "two")
    second = Syncer(sync.catalog, upstream, runs=100)

    async def sync_other() -> None:
        upstream.faults.clear()
        await second(remote=f"{REMOTE}:other")

    upstream.faults["read_manifest", two.digest] = sync_other
    result = await sync(remote=f"{REMOTE}:shared")
    assert [row.number for row in sync.catalog.history.versions(NAME)] == [3, 2, 1]
    assert (result.version, result.changed) == (3, True)
    assert sync.snapshot().tags == {"shared": two.digest, "other": other.digest}
    assert upstream.calls["read_manifest", two.digest] == 1
    assert upstream.calls["referrers", two.digest] == 1
    assert max(number for (method, _), number in upstream.calls.items() if method == "read_blob") == 1


async def test_a_mirror_that_removed_what_another_sync_counted_on(sync: Syncer, upstream: MemoryUpstream) -> None:
    shared, other = upstream.image("shared"), upstream.image("other")
    await sync()
    late = upstream.image("late")
    second = Syncer(sync.catalog, upstream, runs=100)

    async def mirror_other() -> None:
        upstream.faults.clear()
        await second(mode="mirror", include=["other"])

    upstream.faults["read_manifest", late.digest] = mirror_other
    await sync()
    assert sync.snapshot().tags == {"shared": shared.digest, "other": other.digest, "late": late.digest}


async def test_it_gives_up_when_the_repository_never_stops_moving(sync: Syncer, upstream: MemoryUpstream) -> None:
    """And what it needs of the last version is gone from it by then."""
    upstream.image("v1")

    async def never(*_: object) -> None:
        return None

    def remove_all(*_: object, **__: object) -> None:
        raise ManifestBlobUnknown("the others have removed what it counted on")

    sync.catalog.commits.commit_latest = remove_all  # type: ignore[method-assign,assignment]
    with pytest.raises(Conflict, match="run the sync again"):
        await sync(steps=SyncSteps(commit_version=never))


@pytest.mark.parametrize("mode", ["additive", "mirror"])
async def test_it_comes_through_beside_others_who_are_always_quicker(
    sync: Syncer, upstream: MemoryUpstream, mode: str
) -> None:
    """Each time that it has planned, another version is made; at last the others wait for one plan."""
    image, tries = upstream.image("v1"), list[int]()

    async def too_late(context: SyncContext, copied: Copied) -> CommitResult | None:
        tries.append(copied.planned.base.version)
        await asyncio.to_thread(push_image, sync.catalog, NAME, f"other-{len(tries)}", f"other {len(tries)}")
        return await commit_version(context, copied)

    result = await sync(steps=SyncSteps(commit_version=too_late), mode=mode)
    assert tries == list(range(MAX_PLANS))
    assert (result.version, result.changed) == (MAX_PLANS + 1, True)
    others = {f"other-{number}" for number in range(1, MAX_PLANS + 1)} if mode == "additive" else set[str]()
    assert sync.snapshot().tags.keys() == {"v1", *others}
    assert sync.snapshot().tags["v1"] == image.digest
    assert max(number for (method, _), number in upstream.calls.items() if method == "read_blob") == 1


# --- the same operation again ----------------------------------------------------------------------------------


async def test_the_same_operation_again_returns_its_version(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("v1")
    await sync(operation_id="flow-1")
    upstream.image("v2")
    upstream.calls.clear()
    again = await sync(operation_id="flow-1")
    assert again.version == 1
    assert not upstream.calls
    assert [row.number for row in sync.catalog.history.versions(NAME)] == [1]


async def test_what_an_interrupted_sync_has_copied_is_not_fetched_again(sync: Syncer, upstream: MemoryUpstream) -> None:
    for number in range(6):
        upstream.image(f"v{number}")

    class Killed(BaseException):
        pass

    async def die(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        await sync(steps=SyncSteps(commit_version=die))
    assert sync.catalog.snapshots.find(NAME) is None
    upstream.calls.clear()
    result = await sync()
    assert result.counts["added"] == 6
    assert upstream.count("read_blob") == upstream.count("read_manifest") == 0
    assert (result.moved_items, result.moved_bytes) == (0, 0)


async def test_a_repository_of_the_same_content_copies_no_blob(
    sync: Syncer, catalog: Catalog, upstream: MemoryUpstream
) -> None:
    upstream.image("v1")
    await sync()
    upstream.calls.clear()
    await sync(repository="elsewhere")
    assert upstream.count("read_blob") == 0
    assert set(catalog.snapshots.get("elsewhere").tags) == {"v1"}


async def test_plain_steps_are_what_run_sync_uses(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("v1")
    context = sync.context()
    assert (await run_sync(context)).version == 1
    assert await list_source_tags(context, context.reader) == ["v1"]


async def test_a_sync_that_does_not_fit_its_quota_copies_nothing(sync: Syncer, upstream: MemoryUpstream) -> None:
    for number in range(3):
        upstream.image(f"v{number}")
    sync.catalog.quotas.put(Quota("team/**", max_tags=2), actor="test")
    with pytest.raises(QuotaExceeded, match="may hold 2 tags"):
        await sync()
    assert upstream.count("read_manifest") == upstream.count("read_blob") == 0
    noted = await sync(dry_run=True)
    assert any("may hold 2 tags" in note for note in noted.notes)
    assert (await sync(include=["v0", "v1"])).changed


async def test_an_unchanged_sync_makes_no_commit_and_waits_for_no_lock(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("v1")
    await sync(mode="mirror")

    async def commit_version(_context: SyncContext, _copied: Copied) -> CommitResult | None:
        raise AssertionError("nothing changes")

    result = await sync(mode="mirror", steps=SyncSteps(commit_version=commit_version))
    assert (result.changed, result.version, result.counts["unchanged"]) == (False, 1, 1)


async def test_others_who_change_what_looked_unchanged_are_noticed(
    sync: Syncer, upstream: MemoryUpstream, catalog: Catalog
) -> None:
    upstream.image("v1")
    await sync(mode="mirror")

    async def push() -> None:
        del upstream.faults["resolve", "v1"]
        await asyncio.to_thread(push_image, catalog, NAME, "other", "other")

    upstream.faults["resolve", "v1"] = push
    result = await sync(mode="mirror")
    assert result.counts["removed"] == 1
    assert set(sync.snapshot().tags) == {"v1"}
