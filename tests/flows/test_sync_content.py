"""What conditions on content leave of an upstream, and what they cost: each thing is read once, and no more than decides."""

from datetime import timedelta

import pytest

from catalog.catalog import Catalog
from flows.sync.resolution import TagsFailed
from flows.sync.selection import NothingSelected
from oci.digest import Digest
from oci.kinds import COSIGN_LAYER, signature_tag
from oci.manifest import Manifest
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests.flows.conftest import MemoryUpstream, Syncer, at_a_fixed_time

pytestmark = pytest.mark.anyio
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def put(upstream: MemoryUpstream, tag: str, *, days: int | None = None, **labels: str) -> Manifest:
    """An image that was created so many days before the sync's clock."""
    created = "1970-01-01T00:00:00Z" if days is None else (at_a_fixed_time() - timedelta(days=days)).isoformat()
    image = pack_image(upstream.store, [{"file": tag}], config={"Labels": labels}, created=created)
    upstream.store.put_tag(tag, image.digest)
    return image


def sign(upstream: MemoryUpstream, subject: Manifest) -> str:
    tag = signature_tag(subject.digest)
    signature = pack_artifact(upstream.store, "", [(COSIGN_LAYER, subject.digest.encode())])
    upstream.store.put_tag(tag, signature.digest)
    return tag


def config_of(image: Manifest) -> Digest:
    assert image.config
    return image.config.digest


async def test_labels_decide_what_a_mirror_holds_and_nothing_is_read_twice(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    prod, test = put(upstream, "v1", stage="prod"), put(upstream, "v2", stage="test")
    put(upstream, "other", stage="prod")
    await sync(mode="mirror", include=["v*"])
    assert set(sync.snapshot().tags) == {"v1", "v2"}
    upstream.calls.clear()
    result = await sync(mode="mirror", include=["v*"], labels=["stage=prod"])
    assert sync.snapshot().tags == {"v1": prod.digest}
    (removed,) = [item for item in result.items if item.action == "removed"]
    assert (removed.tag, removed.reason) == ("v2", "does not fulfil label stage=prod")
    assert result.dropped == {"other": "matches no include", "v2": "does not fulfil label stage=prod"}
    assert dict(upstream.calls) == {("tags", ""): 1, ("resolve", "v1"): 1, ("resolve", "v2"): 1}
    assert test.digest not in sync.snapshot().manifests


async def test_what_conditions_have_read_is_not_read_again(sync: Syncer, upstream: MemoryUpstream) -> None:
    wanted, unwanted = put(upstream, "v1", stage="prod"), put(upstream, "v2", stage="test")
    for _ in range(2):
        await sync(labels=["stage=prod"])
        for image in (wanted, unwanted):
            assert upstream.calls["read_manifest", image.digest] == 1
            assert upstream.calls["read_blob", config_of(image)] == 1
    assert sync.snapshot().tags == {"v1": wanted.digest}
    assert upstream.count("read_blob") == 3  # two configs, one layer
    assert upstream.count("resolve") == 4


async def test_a_dry_run_reads_once_too_and_stores_nothing(
    sync: Syncer, upstream: MemoryUpstream, catalog: Catalog
) -> None:
    image = put(upstream, "v1", stage="prod")
    planned = await sync(labels=["stage"], dry_run=True)
    assert (planned.counts["added"], planned.moved_items) == (1, 3)
    assert upstream.calls["read_manifest", image.digest] == 1
    assert catalog.content.size(image.digest) is None
    assert catalog.content.size(config_of(image)) is None


async def test_age_is_counted_from_the_clock(sync: Syncer, upstream: MemoryUpstream) -> None:
    for tag, days in (("new", 3), ("middle", 10), ("old", 40), ("unknown", None)):
        put(upstream, tag, days=days)
    result = await sync(newer_than="30d", older_than="7d")
    assert set(sync.snapshot().tags) == {"middle"}
    assert result.dropped == {
        "new": "created 2025-12-30T00:00:00Z, not older than 7d",
        "old": "created 2025-11-23T00:00:00Z, not newer than 30d",
        "unknown": "creation unknown, so not newer than 30d",
    }
    await sync(mode="mirror", older_than="2025-12-01")
    assert set(sync.snapshot().tags) == {"old"}


async def test_the_newest_by_creation(sync: Syncer, upstream: MemoryUpstream) -> None:
    for tag, days in (("a", 3), ("b", 1), ("c", 2), ("d", None)):
        put(upstream, tag, days=days)
    result = await sync(mode="mirror", newest=2, newest_by="created")
    assert set(sync.snapshot().tags) == {"b", "c"}
    assert result.dropped["a"] == "not among the 2 newest, by creation"
    assert result.dropped["d"] == "creation unknown, so not among the newest"


async def test_types_and_annotations(sync: Syncer, upstream: MemoryUpstream) -> None:
    put(upstream, "image")
    chart = pack_artifact(
        upstream.store,
        "",
        config=("application/vnd.cncf.helm.config.v1+json", b'{"name":"chart"}'),
        annotations={"org.opencontainers.image.title": "chart"},
    )
    upstream.store.put_tag("chart", chart.digest)
    await sync(mode="mirror", types=["helm"])
    assert set(sync.snapshot().tags) == {"chart"}
    await sync(mode="mirror", types=["!application/vnd.cncf.helm.*"])
    assert set(sync.snapshot().tags) == {"image"}
    upstream.calls.clear()
    await sync(mode="mirror", annotations=["org.opencontainers.image.title=ch*"])
    assert set(sync.snapshot().tags) == {"chart"}


async def test_an_index_is_judged_by_the_children_that_are_wanted(sync: Syncer, upstream: MemoryUpstream) -> None:
    images = {
        platform: pack_image(upstream.store, [{"f": str(platform)}], config={"Labels": {"for": str(platform)}})
        for platform in (AMD64, ARM64)
    }
    index = pack_index(upstream.store, [(image, platform) for platform, image in images.items()])
    upstream.store.put_tag("v1", index.digest)
    put(upstream, "single")
    await sync(labels=["for=linux/amd64"], platforms=["linux/amd64"])
    assert sync.snapshot().tags == {"v1": index.digest}
    assert upstream.calls["read_manifest", images[ARM64].digest] == 0
    assert upstream.calls["read_manifest", images[AMD64].digest] == 1
    assert (await sync(labels=["for=linux/amd64"], types=["image"], platforms=["linux/amd64"])).changed is False


async def test_signed_by_cosigns_tag_costs_nothing_where_tags_are_listed(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    signed, unsigned = put(upstream, "v1"), put(upstream, "v2")
    tag = sign(upstream, signed)
    result = await sync(signed=True)
    assert set(sync.snapshot().tags) == {"v1", tag}
    assert result.dropped == {"v2": "not signed"}
    assert upstream.calls["referrers", unsigned.digest] == 1
    assert upstream.calls["read_manifest", unsigned.digest] == 0
    assert upstream.calls["resolve", tag] == 1
    upstream.calls.clear()
    assert not (await sync(signed=True)).changed
    assert upstream.count("read_manifest") == upstream.count("read_blob") == 0
    assert upstream.calls["referrers", signed.digest] == 0


async def test_signed_without_a_listing_costs_one_head(sync: Syncer, upstream: MemoryUpstream) -> None:
    tag = sign(upstream, put(upstream, "v1"))
    put(upstream, "v2")
    await sync(signed=True, include=["v1", "v2"])
    assert set(sync.snapshot().tags) == {"v1", tag}
    assert upstream.count("tags") == 0
    assert upstream.calls["resolve", tag] == 1


async def test_signed_by_a_referrer_of_which_the_list_is_asked_for_once(sync: Syncer, upstream: MemoryUpstream) -> None:
    image = put(upstream, "v1")
    signature = pack_artifact(upstream.store, "application/vnd.cncf.notary.signature", subject=image)
    about = put(upstream, "v2")
    pack_artifact(upstream.store, "application/spdx+json", subject=about)
    await sync(signed=True)
    assert set(sync.snapshot().tags) == {"v1"}
    assert sync.snapshot().referrers[image.digest] == (signature.digest,)
    assert upstream.calls["referrers", image.digest] == 1
    assert upstream.calls["read_manifest", signature.digest] == 1


async def test_what_is_held_unsigned_may_have_been_signed_since(sync: Syncer, upstream: MemoryUpstream) -> None:
    image = put(upstream, "v1")
    await sync()
    tag = sign(upstream, image)
    await sync(signed=True)
    assert set(sync.snapshot().tags) == {"v1", tag}


async def test_signatures_are_looked_for_where_nothing_else_decides(sync: Syncer, upstream: MemoryUpstream) -> None:
    image = put(upstream, "v1", stage="test")
    put(upstream, "v2", stage="prod")
    result = await sync(signed=True, labels=["stage=prod"])
    assert result.dropped == {"v1": "does not fulfil label stage=prod", "v2": "not signed"}
    assert upstream.calls["referrers", image.digest] == 0


async def test_the_newest_that_fulfil_conditions_and_no_older_ones_are_looked_at(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    for number in range(30):
        put(upstream, f"1.{number}", stage="prod" if number % 2 else "test")
    await sync(newest=1, labels=["stage=prod"])
    assert set(sync.snapshot().tags) == {"1.29"}
    assert upstream.count("resolve") == upstream.count("read_manifest") == 1
    put(upstream, "1.30", stage="test")
    upstream.calls.clear()
    await sync(mode="mirror", newest=2, labels=["stage=prod"])
    assert set(sync.snapshot().tags) == {"1.29", "1.27"}
    assert upstream.count("resolve") <= 5
    assert upstream.calls["resolve", "1.0"] == 0


async def test_a_tag_that_is_named_and_a_digest_fulfil_conditions_too(sync: Syncer, upstream: MemoryUpstream) -> None:
    image, other = put(upstream, "v1", stage="test"), put(upstream, "v2", stage="prod")
    with pytest.raises(NothingSelected, match="v1: does not fulfil label stage=prod"):
        await sync(remote=f"{upstream.name}:v1", labels=["stage=prod"], mode="mirror")
    result = await sync(include=[image.digest, other.digest, "v9"], labels=["stage=prod"])
    assert result.notes == ("upstream does not have v9, which include names",)
    assert result.dropped.pop("v9") == "not upstream"  # type: ignore[attr-defined]  # a dictionary
    assert set(sync.snapshot().manifests) == {other.digest}
    assert result.dropped == {image.digest: "does not fulfil label stage=prod"}
    await sync(include=[image.digest, "v*"], newest=1, newest_by="created", on_error="skip", mode="additive")
    assert image.digest in sync.snapshot().manifests


async def test_that_nothing_fulfils_conditions_is_a_remark_unless_a_mirror_would_become_empty(
    sync: Syncer, upstream: MemoryUpstream
) -> None:
    put(upstream, "v1", days=100)
    await sync()
    digest = sync.snapshot().tags["v1"]
    for narrowed in ({}, {"include": [digest]}, {"remote": f"{upstream.name}:v1"}):
        result = await sync(newer_than="7d", **narrowed)
        assert (result.changed, result.version) == (False, 1)
        assert "none of the 1 tags" in result.notes[0]
    with pytest.raises(NothingSelected, match="matches no include"):
        await sync(newer_than="7d", include=["w*"])
    with pytest.raises(NothingSelected, match="not newer than 7d"):
        await sync(mode="mirror", newer_than="7d")
    assert set(sync.snapshot().tags) == {"v1"}


async def test_a_tag_that_cannot_be_read_is_a_failed_tag(sync: Syncer, upstream: MemoryUpstream) -> None:
    put(upstream, "v1", stage="prod")
    broken = put(upstream, "v2", stage="prod")
    del upstream.store.blobs[config_of(broken)]
    with pytest.raises(TagsFailed, match="v2"):
        await sync(labels=["stage=prod"])
    result = await sync(labels=["stage=prod"], on_error="skip")
    assert set(result.failed) == {"v2"}
    assert set(sync.snapshot().tags) == {"v1"}


async def test_a_tag_that_moves_while_it_is_looked_at(sync: Syncer, upstream: MemoryUpstream) -> None:
    old = put(upstream, "v1", stage="prod")
    new = put(upstream, "next", stage="prod")

    async def move() -> None:
        upstream.store.tagged["v1"] = new.digest
        upstream.store.manifests.pop(old.digest, None)

    upstream.faults["read_manifest", old.digest] = move
    await sync(labels=["stage=prod"], include=["v1"])
    assert sync.snapshot().tags == {"v1": new.digest}


async def test_a_config_that_is_another_is_refused(sync: Syncer, upstream: MemoryUpstream, catalog: Catalog) -> None:
    image = put(upstream, "v1", stage="test")
    upstream.store.blobs[config_of(image)] = b'{"config":{"Labels":{"stage":"prod"}}}'
    with pytest.raises(TagsFailed, match="sent a config that is not"):
        await sync(labels=["stage=prod"])
    assert catalog.content.size(config_of(image)) is None
