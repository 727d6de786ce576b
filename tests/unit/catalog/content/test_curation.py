"""What is chosen comes with all that belongs to it, once."""

from datetime import UTC, datetime

import pytest

from catalog.catalog import Catalog
from catalog.content.curation import Curation, curate
from catalog.content.restore import plan_towards
from catalog.filters.conditions import Conditions
from catalog.filters.filter import Filter
from catalog.filters.platforms import PlatformFilter
from catalog.filters.selector import Selector
from catalog.filters.tags import TagFilter
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import Conflict, InvalidInput, ManifestUnknown, NameInvalid, NameUnknown
from oci.kinds import signature_tag
from oci.platform import Platform
from tests.unit.catalog.conftest import commit_to, push_image, stage_image, stage_index, stage_manifest

NOW = datetime(2026, 3, 1, tzinfo=UTC)
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def choose(
    catalog: Catalog,
    *selectors: str,
    platforms: tuple[Platform, ...] = (),
    tags: TagFilter | None = None,
    conditions: Conditions = Conditions(),  # noqa: B008  # a frozen value
) -> Curation:
    wanted = Filter(tags or TagFilter(), conditions)
    return curate(catalog, map(Selector.parse, selectors), now=NOW, wanted=wanted, platforms=PlatformFilter(platforms))


def make(catalog: Catalog, target: str, chosen: Curation, *, additive: bool = False) -> Snapshot:
    latest = catalog.snapshots.find(target) or Snapshot(target, 0)
    changes = plan_towards(latest, chosen.as_snapshot(target), additive=additive)
    return commit_to(catalog, target, *changes, allow_sparse=True, donors=tuple(catalog.snapshots.names())).snapshot


@pytest.fixture
def index(catalog: Catalog) -> dict[str, Descriptor]:
    """In team/app: tag `multi`, an index of two platforms; a signature of it by referrer, and one by cosign's tag."""
    children = {}
    for platform in (AMD64, ARM64):
        image = stage_image(catalog, "team/app", str(platform))
        children[str(platform)] = Descriptor(image.media_type, image.digest, image.size, platform=platform)
    made = stage_index(catalog, "team/app", list(children.values()))
    subject = {"mediaType": made.media_type, "digest": made.digest, "size": made.size}
    signature = stage_image(catalog, "team/app", "signature")
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": "application/x-note",
        "config": {"mediaType": mediatypes.OCI_CONFIG, "digest": Digest.of(b"{}"), "size": 2},
        "layers": [],
        "subject": subject,
    }
    catalog.content.put(b"{}", Digest.of(b"{}"), "team/app")
    referrer = stage_manifest(catalog, "team/app", document, mediatypes.OCI_MANIFEST)
    tag = made.digest.replace(":", "-") + ".sig"
    commit_to(
        catalog, "team/app", *map(AddManifest, (*children.values(), made, signature, referrer)),
        SetTag("multi", made.digest), SetTag(tag, signature.digest),
    )  # fmt: skip
    return {"index": made, "referrer": referrer, "signature": signature, **children}


def test_a_tag_brings_children_referrers_and_cosign_tags(catalog: Catalog, index: dict[str, Descriptor]) -> None:
    push_image(catalog, "team/app", "other", "other")
    made = make(catalog, "curated/app", choose(catalog, "team/app:multi"))
    assert set(made.manifests) == {found.digest for found in index.values()}
    assert set(made.tags) == {"multi", index["index"].digest.replace(":", "-") + ".sig"}
    assert made.blobs.keys() <= catalog.snapshots.get("team/app").blobs.keys()
    assert made.referrers == {index["index"].digest: (index["referrer"].digest,)}


def test_two_repositories_share_what_they_share(catalog: Catalog) -> None:
    push_image(catalog, "a/one", "v1", "one", ("shared", "of one"))
    push_image(catalog, "b/two", "v2", "two", ("shared", "of two"))
    made = make(catalog, "curated/app", choose(catalog, "a/one:v1", "b/two"))
    assert set(made.tags) == {"v1", "v2"}
    assert len(made.manifests) == 2
    assert len(made.blobs) == 5  # two configs, three layers
    assert not commit_to(
        catalog, "curated/app", *plan_towards(made, choose(catalog, "a/one:v1", "b/two").as_snapshot("curated/app"))
    ).changed


def test_platforms_keep_the_index(catalog: Catalog, index: dict[str, Descriptor]) -> None:
    made = make(catalog, "curated/app", choose(catalog, "team/app:multi", platforms=(AMD64,)))
    assert index["index"].digest in made.manifests
    assert index[str(AMD64)].digest in made.manifests
    assert index[str(ARM64)].digest not in made.manifests
    with pytest.raises(InvalidInput, match="has none of linux/s390x"):
        choose(catalog, "team/app:multi", platforms=(Platform("linux", "s390x"),))


def test_filters_apply_to_whole_repositories_and_give_reasons(catalog: Catalog) -> None:
    for tag in ("v1.0", "v1.1", "v2.0", "latest"):
        push_image(catalog, "team/app", tag, tag)
    chosen = choose(catalog, "team/app", "team/app:latest", tags=TagFilter(("v*",), newest=2))
    assert set(chosen.tags) == {"v1.1", "v2.0", "latest"}
    assert chosen.dropped == {"team/app:v1.0": "not among the 2 newest", "team/app:latest": "matches no include"}


def test_mirror_removes_and_additive_leaves(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "v1", "one")
    push_image(catalog, "curated/app", "mine", "mine")
    assert set(make(catalog, "curated/app", choose(catalog, "team/app"), additive=True).tags) == {"mine", "v1"}
    assert set(make(catalog, "curated/app", choose(catalog, "team/app")).tags) == {"v1"}


def test_a_digest_may_get_a_tag_of_its_own(catalog: Catalog) -> None:
    digest = push_image(catalog, "team/app", "v1", "one").snapshot.tags["v1"]
    made = make(catalog, "curated/app", choose(catalog, f"team/app:stable@{digest}"))
    assert made.tags == {"stable": digest}
    bare = make(catalog, "bare/app", choose(catalog, f"team/app@{digest}"))
    assert (dict(bare.tags), set(bare.manifests)) == ({}, {digest})


def test_what_cannot_be_chosen_is_told(catalog: Catalog) -> None:
    push_image(catalog, "a/one", "v1", "one")
    push_image(catalog, "b/two", "v1", "two")
    with pytest.raises(Conflict, match="is chosen from a/one and from b/two"):
        choose(catalog, "a/one", "b/two")
    with pytest.raises(ManifestUnknown, match="a/one:v9 is not in version 1 of a/one; it has the tags v1"):
        choose(catalog, "a/one:v9")
    with pytest.raises(ManifestUnknown):
        choose(catalog, f"a/one@{Digest.of(b'nothing')}")
    with pytest.raises(NameUnknown, match="c/three"):
        choose(catalog, "c/three")
    assert not choose(catalog, "a/one", tags=TagFilter(("w*",))).manifests
    with pytest.raises(NameInvalid):
        Selector.parse("Not A Name:v1")
    assert str(Selector.parse(f"a/one:v1@{Digest.of(b'x')}")) == f"a/one:v1@{Digest.of(b'x')}"


def test_a_digest_among_the_includes_is_chosen_without_a_tag(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "v1", "one")
    digest = catalog.snapshots.get("team/app").tags["v1"]
    push_image(catalog, "team/app", "v2", "two")
    chosen = choose(catalog, "team/app", tags=TagFilter((digest, Digest.of(b"not here"))))
    assert (chosen.tags, set(chosen.manifests)) == ({}, {digest})


def test_conditions_choose_by_content_and_companions_come_along(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "v1", "one", created="2026-02-27T00:00:00Z", labels={"stage": "prod"})
    push_image(catalog, "team/app", "v2", "two", created="2026-02-28T00:00:00Z", labels={"stage": "test"})
    push_image(catalog, "team/app", "v3", "three", created="2026-01-01T00:00:00Z", labels={"stage": "prod"})
    tags = catalog.snapshots.get("team/app").tags
    signature = signature_tag(tags["v1"])
    push_image(catalog, "team/app", signature, "signature", created="2026-02-28T00:00:00Z")
    conditions = Conditions(labels=("stage=prod",), newer_than="7d")
    chosen = choose(catalog, "team/app", f"team/app@{tags['v2']}", conditions=conditions)
    assert set(chosen.tags) == {"v1", signature}
    assert chosen.kept == {
        "team/app:v1": "every tag is included, label stage=prod, newer than 7d",
        f"team/app:{signature}": f"belongs to {tags['v1']}",
        f"team/app@{tags['v2']}": "named",
    }
    assert chosen.dropped == {
        "team/app:v2": "does not fulfil label stage=prod",
        "team/app:v3": "created 2026-01-01T00:00:00Z, not newer than 7d",
    }
    assert set(choose(catalog, "team/app", conditions=Conditions(signed=True)).tags) == {"v1", signature}
    by_creation = TagFilter(newest=1, newest_by="created")
    assert set(choose(catalog, "team/app", tags=by_creation).tags) == {"v2"}


def test_conditions_hold_for_a_digest_among_the_includes_too(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "v1", "one")
    digest = catalog.snapshots.get("team/app").tags["v1"]
    chosen = choose(catalog, "team/app", tags=TagFilter((digest,)), conditions=Conditions(signed=True))
    assert (chosen.manifests, chosen.dropped[f"team/app@{digest}"]) == ({}, "not signed")
