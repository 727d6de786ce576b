"""What filters leave of an upstream: tags by pattern, range and newest, and platforms of an index."""

import pytest

from flows.sync.resolution import TagsFailed
from oci.errors import InvalidInput
from oci.pack import pack_image, pack_index
from oci.platform import Platform
from tests.flows.conftest import MemoryUpstream, Syncer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_filters_decide_what_a_mirror_holds(sync: Syncer, upstream: MemoryUpstream) -> None:
    for tag in ("v1", "v2", "v3-rc1", "nightly"):
        upstream.image(tag)
    await sync(mode="mirror", include=["v*"])
    assert set(sync.snapshot().tags) == {"v1", "v2", "v3-rc1"}
    result = await sync(mode="mirror", include=["v*"], exclude=["*-rc*"])
    assert set(sync.snapshot().tags) == {"v1", "v2"}
    assert [item.reason for item in result.items if item.action == "removed"] == ["excluded by *-rc*"]
    assert upstream.calls["resolve", "nightly"] == 0


async def test_platforms_leave_an_index_its_digest_and_are_completed_later(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    amd64, arm64 = Platform("linux", "amd64"), Platform("linux", "arm64")
    images = {platform: pack_image(upstream.store, [{"file": str(platform)}]) for platform in (amd64, arm64)}
    index = pack_index(upstream.store, [(image, platform) for platform, image in images.items()])
    upstream.store.put_tag("v1", index.digest)
    single = upstream.image("single")
    await sync(mode="mirror", platforms=["linux/amd64"])
    assert sync.snapshot().tags == {"v1": index.digest, "single": single.digest}
    assert set(sync.snapshot().manifests) == {index.digest, images[amd64].digest, single.digest}
    assert upstream.calls["read_manifest", images[arm64].digest] == 0
    assert not (await sync(mode="mirror", platforms=["linux/amd64"])).changed

    planned = await sync(dry_run=True)
    assert (planned.counts["completed"], planned.moved_items) == (1, 3)
    result = await sync()
    assert (result.counts["completed"], result.counts["unchanged"]) == (1, 1)
    assert set(sync.snapshot().manifests) == {index.digest, single.digest, *(image.digest for image in images.values())}
    assert set(sync.snapshot().blobs) >= {blob.digest for _, blob in images[arm64].children()}
    assert not (await sync()).changed

    await sync(mode="mirror", platforms=["linux/arm64"])
    assert set(sync.snapshot().manifests) == {index.digest, images[arm64].digest, single.digest}


async def test_an_index_without_the_platform_is_a_failed_tag(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("single")
    image = pack_image(upstream.store, [{"file": "amd64"}])
    upstream.store.put_tag("v1", pack_index(upstream.store, [(image, Platform("linux", "amd64"))]).digest)
    with pytest.raises(TagsFailed, match="has none of linux/s390x; it has linux/amd64"):
        await sync(platforms=["linux/s390x"])
    result = await sync(platforms=["linux/s390x"], on_error="skip")
    assert set(result.failed) == {"v1"}
    assert set(sync.snapshot().tags) == {"single"}


async def test_the_newest_of_a_range(sync: Syncer, upstream: MemoryUpstream) -> None:
    for tag in ("1.0", "1.9", "v1.10", "2.0.0-rc1", "latest"):
        upstream.image(tag)
    result = await sync(include=["semver:>=1"], newest=2)
    assert set(sync.snapshot().tags) == {"1.9", "v1.10"}
    assert result.dropped["1.0"] == "not among the 2 newest"
    assert result.to_json()["not_selected"] == dict(result.dropped)


async def test_a_filter_that_matches_nothing_is_an_error(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("v1")
    with pytest.raises(InvalidInput, match="none of the 1 tags"):
        await sync(mode="mirror", include=["w*"])
