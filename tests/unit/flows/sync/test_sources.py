"""Several sources read as one: which of them is asked for a tag, and what is remembered of where content came from."""

from collections.abc import Mapping

import pytest

from catalog.filters.tags import Selection
from flows.sync.request import SyncRequest
from flows.sync.sources import Candidates, Member, MultipleSources, join_candidates
from oci.errors import RemoteNotFound, RemoteUnavailable
from oci.memory import MemoryStore
from tests.flows.conftest import MemoryUpstream

pytestmark = pytest.mark.anyio
NAMES = ("first.example/team/app", "second.example/team/app")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def sources_of(*remotes: str) -> tuple[MultipleSources, list[MemoryUpstream]]:
    upstreams = [MemoryUpstream(MemoryStore(name)) for name in remotes]
    members = [Member(SyncRequest(remote=remote), source) for remote, source in zip(remotes, upstreams, strict=True)]
    return MultipleSources(members), upstreams


def listed(*tags: str, dropped: Mapping[str, str] | None = None) -> Candidates:
    left = dropped or {}
    return Candidates(Selection(dict.fromkeys(tags, "kept"), left), frozenset([*tags, *left]))


def test_the_first_that_has_a_tag_wins_whether_it_is_selected_there_or_not() -> None:
    joined = join_candidates([("one", listed("a", "b", dropped={"c": "too old"})), ("two", listed("b", "c", "d"))])
    assert joined.places == {"a": (0,), "b": (0,), "d": (1,)}
    assert joined.candidates.selection.kept == ("a", "b", "d")
    assert joined.candidates.selection.dropped == {
        "two:b": "one comes first and has this tag",
        "two:c": "one comes first and has this tag",
        "c": "too old",
    }
    assert joined.candidates.listed == frozenset("abcd")


def test_a_remote_that_was_not_listed_is_asked_for_the_tag_before_the_next() -> None:
    named = Candidates(Selection({"a": "named"}), may_lack=frozenset({"a"}))
    pinned = Candidates(Selection({"b": "named by the remote"}))
    joined = join_candidates([("one", named), ("two", pinned), ("three", listed("a", "b"))])
    assert joined.places == {"a": (0, 2), "b": (1,)}
    assert joined.candidates.listed is None
    assert joined.candidates.may_lack == frozenset("a")
    assert joined.candidates.selection.dropped == {"three:b": "two comes first and has this tag"}


async def test_a_tag_is_that_of_the_first_source_that_has_it() -> None:
    sources, (first, second) = sources_of(*NAMES)
    image = second.image("v1")
    assert (await sources.resolve("v1")).digest == image.digest
    assert (sources.name_of("v1"), sources.home_of(image.digest)) == (NAMES[1], sources.members[1])
    first.faults["resolve", "v1"] = RemoteUnavailable("down")
    with pytest.raises(RemoteUnavailable):
        await sources.resolve("v1")
    with pytest.raises(RemoteNotFound):
        await sources.resolve("v2")


async def test_content_is_read_where_it_came_from_and_elsewhere_when_it_is_gone_there() -> None:
    sources, (first, second) = sources_of(*NAMES)
    image = second.image("v1")
    descriptor = await sources.resolve("v1")
    manifest = await sources.read_manifest(descriptor)
    assert (manifest.digest, first.count("read_manifest")) == (image.digest, 0)
    assert sources.home_of(image.layers[0].digest) == sources.members[1]
    first.store.manifests[image.digest] = image
    del second.store.manifests[image.digest]
    assert (await sources.read_manifest(descriptor)).digest == image.digest


async def test_a_remote_that_names_the_digest_is_asked_for_that_and_not_again() -> None:
    probe = MemoryUpstream()
    image = probe.image("v1")
    sources, (upstream,) = sources_of(f"{NAMES[0]}:stable@{image.digest}")
    upstream.store.manifests[image.digest] = image
    descriptor = await sources.resolve("stable")
    assert (descriptor.digest, upstream.calls["resolve", image.digest]) == (image.digest, 1)
    assert await sources.resolve_again("stable", descriptor) == descriptor
    assert await sources.resolve_again(image.digest, descriptor) == descriptor
    assert upstream.count("resolve") == 1


async def test_companions_are_looked_for_beside_their_image() -> None:
    sources, (first, second) = sources_of(*NAMES)
    image = second.image("v1")
    first.image("sig", "signature of somebody else")
    sources.join([listed("v0"), listed("v1")])
    await sources.resolve("v1")
    assert sources.listed_beside(image.digest) == frozenset({"v1"})
    sources.look_beside("sig", image.digest)
    signature = second.image("sig", "the signature")
    assert (await sources.resolve("sig")).digest == signature.digest
    await sources.referrers(image.digest), await sources.referrers(image.digest)
    assert (first.count("referrers"), second.count("referrers")) == (0, 1)


async def test_of_a_single_source_everything_is_known_to_come_from_it() -> None:
    sources, (upstream,) = sources_of(NAMES[0])
    image = upstream.image("v1")
    assert sources.join([listed("v1", dropped={"old": "too old"})]) == listed("v1", dropped={"old": "too old"})
    assert sources.home_of(image.digest) == sources.members[0]
    assert sources.listed_beside(image.digest) == frozenset({"v1", "old"})
    await sources.resolve("v1")
    assert sources.name_of("v1") == ""
    assert [tag async for tag in sources.tags()] == ["v1"]
