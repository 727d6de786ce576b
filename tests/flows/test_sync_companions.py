"""What belongs to images comes along: cosign's tags and referrers, of an index's children too, as far as it is wanted."""

import pytest

from catalog.filters.companions import CompanionFilter
from flows.sync.resolution import TagsFailed
from oci.digest import Digest
from oci.errors import InvalidInput, RemoteNotFound
from oci.manifest import Manifest
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests.flows.conftest import MemoryUpstream, Syncer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _attach(upstream: MemoryUpstream, digest: Digest, end: str) -> str:
    """A small image under the tag by which cosign attaches things."""
    tag = next(tag for tag in CompanionFilter().tags_of(digest) if tag.endswith(end))
    upstream.image(tag, f"{end} of {digest}")
    return tag


def _index(upstream: MemoryUpstream, tag: str) -> tuple[Manifest, Manifest]:
    """An index and its one child."""
    child = pack_image(upstream.store, [{"file": f"child of {tag}"}])
    index = pack_index(upstream.store, [(child, Platform("linux", "amd64"))])
    upstream.store.put_tag(tag, index.digest)
    return index, child


async def test_cosigns_tags_come_with_what_is_selected(sync: Syncer, upstream: MemoryUpstream) -> None:
    image, other = upstream.image("v1"), upstream.image("w1")
    index, child = _index(upstream, "v2")
    wanted = [_attach(upstream, digest, ".sig") for digest in (image.digest, index.digest, child.digest)]
    wanted += [_attach(upstream, child.digest, ".att"), _attach(upstream, image.digest, ".sbom")]
    signature = upstream.store.tagged[wanted[0]]
    wanted.append(_attach(upstream, signature, ".sig"))  # a signature of the signature
    _attach(upstream, other.digest, ".sig")
    await sync(mode="mirror", include=["v*"])
    assert set(sync.snapshot().tags) == {"v1", "v2", *wanted}
    upstream.calls.clear()
    assert not (await sync(mode="mirror", include=["v*"])).changed
    assert (upstream.count("tags"), upstream.count("resolve"), upstream.count("read_manifest")) == (1, 8, 0)


async def test_what_was_signed_since_is_noticed_and_what_was_removed_goes(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    _index_manifest, child = _index(upstream, "v1")
    await sync(mode="mirror", include=["v*"])
    tag = _attach(upstream, child.digest, ".sig")
    result = await sync(mode="mirror", include=["v*"])
    assert (result.counts["added"], result.counts["unchanged"]) == (1, 1)
    assert set(sync.snapshot().tags) == {"v1", tag}
    upstream.store.tagged.pop(tag)
    await sync(mode="mirror", include=["v*"])
    assert set(sync.snapshot().tags) == {"v1"}


async def test_companions_can_be_narrowed_excluded_and_left_out(sync: Syncer, upstream: MemoryUpstream) -> None:
    image = upstream.image("v1")
    signature, sbom = _attach(upstream, image.digest, ".sig"), _attach(upstream, image.digest, ".sbom")
    for content, kind in ((b"a", "application/spdx+json"), (b"b", "application/vnd.example.report")):
        pack_artifact(upstream.store, kind, [("text/plain", content)], subject=image)
    for options, tags, referrers in (
        ({"companions": ["sbom"]}, {"v1", sbom}, {"application/spdx+json"}),
        (
            {"companions": ["signature", "application/vnd.example.*"]},
            {"v1", signature},
            {"application/vnd.example.report"},
        ),
        ({"companions": []}, {"v1"}, set()),
        ({"exclude": ["*.sig"]}, {"v1", sbom}, {"application/spdx+json", "application/vnd.example.report"}),
    ):
        name = f"team/{len(str(options))}"
        upstream.calls.clear()
        await sync(repository=name, include=["v1", "w*"], **options)
        held = sync.catalog.snapshots.get(name)
        assert set(held.tags) == tags
        assert {held.manifests[one].artifact_type for one in held.referrers.get(image.digest, ())} == referrers
        assert bool(upstream.count("referrers")) == bool(options.get("companions", True))


# --- filters that name what they take ----------------------------------------------------------------------------


async def test_named_tags_need_no_list(sync: Syncer, upstream: MemoryUpstream) -> None:
    image = upstream.image("v1")
    for tag in ("v2", "v3"):
        upstream.image(tag)
    signature = _attach(upstream, image.digest, ".sig")
    result = await sync(mode="mirror", include=["v1", "v3"])
    assert set(sync.snapshot().tags) == {"v1", "v3", signature}
    assert result.dropped == {}  # what might have been there is no news
    assert upstream.count("tags") == 0
    upstream.calls.clear()
    await sync(include=["v1", "v3"])
    assert upstream.count("tags") + upstream.count("referrers") + upstream.count("read_manifest") == 0
    assert {what for method, what in upstream.calls if method == "resolve"} == {"v1", "v3"}


async def test_a_mirror_of_named_tags_keeps_the_companions_it_has(sync: Syncer, upstream: MemoryUpstream) -> None:
    signature = _attach(upstream, upstream.image("v1").digest, ".sig")
    await sync(mode="mirror", include=["v1"])
    assert not (await sync(mode="mirror", include=["v1"])).changed
    assert set(sync.snapshot().tags) == {"v1", signature}


async def test_a_named_tag_that_upstream_lacks_is_told_and_goes_from_a_mirror(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    for tag in ("v1", "v2"):
        upstream.image(tag)
    await sync(mode="mirror", include=["v1", "v2"])
    upstream.store.tagged.pop("v2")
    result = await sync(mode="mirror", include=["v1", "v2"])
    assert result.notes == ("upstream does not have v2, which include names",)
    assert result.dropped["v2"] == "not upstream"
    assert set(sync.snapshot().tags) == {"v1"}


async def test_a_named_tag_whose_manifest_is_gone_is_a_failure(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("v1")
    broken = upstream.image("v2")
    upstream.faults["read_manifest", broken.digest] = RemoteNotFound("gone", registry="upstream.example")
    with pytest.raises(TagsFailed, match="v2"):
        await sync(mode="mirror", include=["v1", "v2"])
    result = await sync(mode="mirror", include=["v1", "v2"], on_error="skip")
    assert set(result.failed) == {"v2"}
    assert set(sync.snapshot().tags) == {"v1"}


async def test_naming_nothing_that_upstream_has_is_an_error(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("v1")
    with pytest.raises(InvalidInput, match="has nothing of what include names: v7"):
        await sync(mode="mirror", include=["v7"])


async def test_a_digest_comes_without_a_tag(sync: Syncer, upstream: MemoryUpstream) -> None:
    image, other = upstream.image("v1"), upstream.image("v2")
    await sync(mode="mirror", include=[image.digest])
    assert (sync.snapshot().tags, set(sync.snapshot().manifests)) == ({}, {image.digest})
    assert upstream.count("tags") == 0
    await sync(mode="mirror", include=[image.digest, "v2", "w*"])
    assert (set(sync.snapshot().tags), set(sync.snapshot().manifests)) == ({"v2"}, {image.digest, other.digest})
    assert not (await sync(mode="mirror", include=[image.digest, "v2", "w*"])).changed


async def test_the_newest_of_each_minor_version(sync: Syncer, upstream: MemoryUpstream) -> None:
    for tag in ("1.1.0", "1.1.1", "1.2.0", "2.0.0", "2.0.1"):
        upstream.image(tag)
    await sync(newest=1, newest_of="minor")
    assert set(sync.snapshot().tags) == {"1.1.1", "1.2.0", "2.0.1"}


async def test_what_was_attached_since_comes_where_it_is_looked_for(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("v1")
    _index_manifest, child = _index(upstream, "v2")
    await sync()
    attached = pack_artifact(upstream.store, "application/spdx+json", [("text/plain", b"of a child")], subject=child)
    deeper = pack_artifact(upstream.store, "application/vnd.example", [("text/plain", b"deeper")], subject=attached)
    assert not (await sync()).changed  # that was not asked for
    upstream.calls.clear()
    planned = await sync(recheck=True, dry_run=True)
    assert (planned.counts["completed"], planned.counts["unchanged"]) == (1, 1)
    result = await sync(recheck=True)
    assert (result.counts["completed"], result.counts["unchanged"], result.changed) == (1, 1, True)
    assert sync.snapshot().manifests.keys() >= {attached.digest, deeper.digest}

    last = pack_artifact(upstream.store, "application/vnd.example", [("text/plain", b"last")], subject=deeper)
    assert not (await sync(recheck=True, companions=["sbom"])).changed
    upstream.calls.clear()
    assert (await sync(recheck=True)).changed
    assert last.digest in sync.snapshot().manifests
    upstream.calls.clear()
    assert not (await sync(recheck=True)).changed
    assert (upstream.count("referrers"), upstream.count("read_manifest")) == (6, 0)  # v1, v2, its child and the three
