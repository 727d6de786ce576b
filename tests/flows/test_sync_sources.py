"""Several remotes synced into one repository, in order of precedence: counted and faulty upstreams, real registries."""

import asyncio
from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from catalog.catalog import Catalog
from flows.sync.context import SyncContext
from flows.sync.procedure import explain_sync, run_sync
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.resolution import TagsFailed
from flows.sync.sources import Member, MultipleSources
from oci.digest import Digest
from oci.errors import InvalidInput, RemoteUnavailable
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image
from tests.conftest import DockerRegistryFactory
from tests.flows.conftest import MemoryUpstream, at_a_fixed_time
from tests.mirror import synced, upload
from tests.upstream import Upstream

NAMES = ("first.example/team/app", "second.example/team/app", "third.example/team/app")
NAME = "team/app"


class SourcesSyncer:
    """Syncs two or three remotes in memory into one catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog, self.runs = catalog, 0
        self.upstreams = [MemoryUpstream(MemoryStore(name)) for name in NAMES]

    def __call__(self, *, count: int = 2, **fields: object) -> SyncResult:
        self.runs += 1
        request = SyncRequest.model_validate({"remote": NAMES[0], "also": NAMES[1:count], **fields})
        members = [Member(*pair) for pair in zip(request.each_alone(), self.upstreams, strict=False)]
        context = SyncContext.of(
            request, self.catalog, MultipleSources(members), operation_id=f"run-{self.runs}", clock=at_a_fixed_time
        )
        return asyncio.run(run_sync(context))

    def tags(self) -> Mapping[str, Digest]:
        return self.catalog.snapshots.get(NAME).tags


@pytest.fixture
def sync(catalog: Catalog) -> SourcesSyncer:
    return SourcesSyncer(catalog)


def test_tags_say_where_they_came_from_and_what_the_first_has_costs_nothing_elsewhere(sync: SourcesSyncer) -> None:
    first, second, third = sync.upstreams
    ours = first.image("v1", "ours")
    second.image("v1", "theirs")
    theirs = second.image("v2", "two")
    third.image("v2", "others")
    result = sync(count=3, mode="mirror")
    assert sync.tags() == {"v1": ours.digest, "v2": theirs.digest}
    assert {item.tag: item.reason for item in result.items} == {
        "v1": f"new, from {NAMES[0]}",
        "v2": f"new, from {NAMES[1]}",
    }
    assert result.dropped == {
        f"{NAMES[1]}:v1": f"{NAMES[0]} comes first and has this tag",
        f"{NAMES[2]}:v2": f"{NAMES[1]} comes first and has this tag",
    }
    assert result.to_json()["also"] == list(NAMES[1:])
    assert third.count("resolve") == 0
    again = sync(count=3, mode="mirror")
    assert not again.changed
    del first.store.tagged["v1"]
    gone = sync(count=3, mode="mirror")
    assert gone.counts["moved"] == 1  # it is the second's now
    del second.store.tagged["v1"]
    sync(count=3, mode="mirror")
    assert set(sync.tags()) == {"v2"}  # exactly the union


def test_a_remote_that_is_down_fails_the_sync_or_leaves_what_it_may_have(sync: SourcesSyncer) -> None:
    first, second, third = sync.upstreams
    first.image("a", "first"), second.image("b", "second"), third.image("c", "third")
    sync(count=3, mode="mirror")
    before = dict(sync.tags())
    moved = first.image("a", "first moved")
    third.image("b", "would be taken for the second's")
    third.image("d", "new")
    second.faults["tags", ""] = RemoteUnavailable("is down", registry="second.example")
    with pytest.raises(RemoteUnavailable):
        sync(count=3, mode="mirror")
    assert sync.tags() == before
    del first.store.tagged["a"]
    first.store.put_tag("a2", moved.digest)
    skipped = sync(count=3, mode="mirror", on_error="skip")
    assert sync.tags() == {**before, "a2": moved.digest}
    assert "nothing is removed" in skipped.notes[0]
    first.faults["tags", ""] = RemoteUnavailable("is down", registry="first.example")
    with pytest.raises(RemoteUnavailable):
        sync(count=3, mode="mirror", on_error="skip")
    first.faults.clear()
    second.faults.clear()
    sync(count=3, mode="mirror")
    assert set(sync.tags()) == {"a2", "b", "c", "d"}


def test_a_tag_that_cannot_be_asked_for_is_not_taken_from_the_next(sync: SourcesSyncer) -> None:
    first, second, _third = sync.upstreams
    first.image("v1", "ours")
    second.image("v1", "theirs")
    second.image("v2", "two")
    first.faults["resolve", "v1"] = RemoteUnavailable("is down", registry="first.example")
    with pytest.raises(TagsFailed):
        sync(include=["v1", "v2"])
    result = sync(include=["v1", "v2"], on_error="skip")
    assert (set(sync.tags()), set(result.failed)) == ({"v2"}, {"v1"})
    first.faults.clear()
    assert second.count("tags") == 0
    sync(include=["v1", "v2"])
    assert sync.tags()["v1"] == first.store.tagged["v1"]


def test_pins_belong_to_their_remotes_and_filters_apply_to_each(sync: SourcesSyncer) -> None:
    first, second, _third = sync.upstreams
    pinned = first.image("old", "pinned")
    first.image("v1", "not wanted")
    for number in range(3):
        second.image(f"v1.{number}.0", f"second {number}")
    sync(remote=f"{NAMES[0]}:stable@{pinned.digest}", newest=2, repository=NAME)
    assert set(sync.tags()) == {"stable", "v1.1.0", "v1.2.0"}
    assert sync.tags()["stable"] == pinned.digest
    with pytest.raises(InvalidInput, match="nothing of what include names"):
        sync(include=["missing"])


def test_companions_come_from_where_their_image_came_from(sync: SourcesSyncer) -> None:
    first, second, _third = sync.upstreams
    image = second.image("v2", "two")
    first.image("v1", "one")
    tag = f"sha256-{image.digest.encoded}.sig"
    right, _wrong = second.image(tag, "signature there"), first.image(tag, "signature of somebody else")
    referrer = pack_artifact(second.store, "application/vnd.test", [("text/plain", b"about")], subject=image)
    stray = pack_artifact(first.store, "application/vnd.test", [("text/plain", b"stray")], subject=image)
    sync(include=["v*"])
    assert sync.tags()[tag] == right.digest
    held = sync.catalog.snapshots.get(NAME).manifests
    assert (referrer.digest in held, stray.digest in held) == (True, False)


def test_layers_that_are_left_are_fetched_from_the_remote_that_has_them(sync: SourcesSyncer) -> None:
    one, two = sync.upstreams[0].image("v1", "one"), sync.upstreams[1].image("v2", "two")
    sync(policy="on_demand")
    sources, version = sync.catalog.sources, sync.catalog.snapshots.get(NAME)
    for image, name in ((one, NAMES[0]), (two, NAMES[1])):
        assert [str(source.remote) for source in sources.find(version, image.layers[0].digest)] == [name]


def test_a_companion_of_a_manifest_pinned_by_digest_is_asked_for_by_its_tag(catalog: Catalog) -> None:
    """It was taken for the pinned manifest itself once."""
    upstream = MemoryUpstream()
    image = upstream.image("v1")
    request = SyncRequest(remote=f"upstream.example/team/app@{image.digest}")
    asyncio.run(
        run_sync(
            SyncContext.of(
                request,
                catalog,
                MultipleSources([Member(request, upstream)]),
                operation_id="run",
                clock=at_a_fixed_time,
            )
        )
    )
    assert catalog.snapshots.get(NAME).tags == {}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"also": ["user:secret@second.example/team/app"]}, "leave credentials out"),
        ({"also": [NAMES[0]]}, "different repositories"),
        ({"also": [NAMES[1], f"{NAMES[1]}:v1"]}, "different repositories"),
    ],
)
def test_forms_whose_remotes_cannot_be_joined_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        SyncRequest.model_validate({"remote": NAMES[0], **fields})
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_two_real_registries_and_one_that_fails(docker_registry: DockerRegistryFactory, catalog: Catalog) -> None:
    one, two = docker_registry(), docker_registry()
    ours = upload(one, "team/app", "v1", "ours")
    upload(two, "apps/app", "v1", "theirs")
    theirs = upload(two, "apps/app", "v2", "two")
    store = MemoryStore()
    store.put_tag("v3", pack_image(store, [{"file": "three"}]).digest)
    with Upstream({"more/app": store}) as three:
        remotes = {"remote": f"{one.host}/team/app", "also": [f"{two.host}/apps/app", f"{three.host}/more/app"]}
        request = SyncRequest.model_validate({**remotes, "mode": "mirror", "on_error": "skip"})

        def run(operation: str) -> SyncResult:
            return asyncio.run(synced(catalog, request, operation_id=operation, clock=at_a_fixed_time))

        run("one")
        wanted = {"v1": ours.digest, "v2": theirs.digest, "v3": store.tagged["v3"]}
        assert catalog.snapshots.get(NAME).tags == wanted
        explained = asyncio.run(explain_sync(catalog.settings, catalog, request, now=at_a_fixed_time()))
        assert explained.kept == ("v1", "v2", "v3")
        assert explained.dropped == {f"{two.host}/apps/app:v1": f"{one.host}/team/app comes first and has this tag"}
        three.forget()
        assert run("again").counts["unchanged"] == 3
        assert three.counts["HEAD", "manifest"] == 1
        three.fail(400, route="tags")
        store.put_tag("v4", store.tagged["v3"])
        assert not run("down").changed
        assert catalog.snapshots.get(NAME).tags == wanted
