"""What goes with content that is removed, and what stays. The shapes are those of Pulp's own examples for copy, add and remove:
manifest lists that share images, images that share layers, tags on both."""

from collections.abc import Iterable, Mapping

import pytest

from catalog.versions.removal import plan_removal
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci import mediatypes
from oci.digest import Digest


def name(text: str) -> Digest:
    return Digest.of(text.encode())


class Shape:
    """A version drawn by names: manifests with their children and subjects, and tags."""

    def __init__(
        self, manifests: Mapping[str, str], tags: Mapping[str, str], subjects: Mapping[str, str] | None = None
    ):
        """`manifests` maps each name to its children, parted by blanks; children that are no names here are blobs."""
        self.children = {name(one): tuple(name(part) for part in parts.split()) for one, parts in manifests.items()}
        about = {one: name(subject) for one, subject in (subjects or {}).items()}
        entries = {name(one): ManifestEntry(mediatypes.OCI_MANIFEST, 1, "", about.get(one)) for one in manifests}
        self._names = {name(one): one for one in manifests}
        self.snapshot = Snapshot("team/app", 1, {tag: name(one) for tag, one in tags.items()}, entries)

    def without(self, *tags: str, digests: Iterable[str] = ()) -> tuple[set[str], set[str], dict[str, str]]:
        """Names of manifests and tags that are left, and those that were named and stay with the reason."""
        removal = plan_removal(self.snapshot, tags=tags, digests=[name(one) for one in digests], children=self.children)
        needed = {self._names[digest]: reason for digest, reason in removal.needed.items()}
        return {self._names[digest] for digest in removal.left.manifests}, set(removal.left.tags), needed


@pytest.fixture
def lists() -> Shape:
    """Two manifest lists of two images each, one image in both; a third image by itself."""
    return Shape(
        {
            "list_a": "image_a image_b",
            "list_b": "image_b image_c",
            "image_a": "",
            "image_b": "",
            "image_c": "",
            "image_d": "",
        },
        {"ml_i": "list_a", "ml_ii": "list_b", "manifest_a": "image_a", "manifest_d": "image_d"},
    )


def test_a_tag_takes_its_list_and_the_images_that_nothing_else_needs(lists: Shape) -> None:
    manifests, tags, needed = lists.without("ml_ii")
    assert manifests == {"list_a", "image_a", "image_b", "image_d"}
    assert tags == {"ml_i", "manifest_a", "manifest_d"}
    assert needed == {}, "image_b stays for list_a, and nobody asked for it by name"


def test_an_image_that_is_tagged_itself_outlives_its_list(lists: Shape) -> None:
    assert lists.without("ml_i")[0] == {"list_b", "image_a", "image_b", "image_c", "image_d"}


def test_all_tags_take_all(lists: Shape) -> None:
    assert lists.without(*lists.snapshot.tags)[:2] == (set(), set())


def test_a_tagged_manifest_does_not_go_alone(lists: Shape) -> None:
    manifests, tags, needed = lists.without(digests=["image_d"])
    assert "image_d" in manifests
    assert "manifest_d" in tags
    assert needed == {"image_d": "it is tagged manifest_d"}


def test_a_tagged_manifest_goes_with_its_tag(lists: Shape) -> None:
    manifests, tags, needed = lists.without("manifest_d", digests=["image_d"])
    assert "image_d" not in manifests
    assert "manifest_d" not in tags
    assert not needed


def test_a_child_does_not_go_without_its_list(lists: Shape) -> None:
    manifests, _, needed = lists.without(digests=["image_c"])
    assert "image_c" in manifests
    assert needed == {"image_c": f"it is part of {name('list_b')}"}


def test_two_tags_of_one_manifest_hold_it_until_both_are_gone() -> None:
    shape = Shape({"image": ""}, {"v1": "image", "latest": "image"})
    assert shape.without("v1")[:2] == ({"image"}, {"latest"})
    assert shape.without("v1", "latest")[:2] == (set(), set())


def test_untagged_manifests_stay_until_they_are_named() -> None:
    shape = Shape({"old": "", "new": ""}, {"v1": "new"})
    assert shape.without("v1")[0] == {"old"}
    assert shape.without(digests=["old"])[0] == {"new"}


@pytest.fixture
def signed() -> Shape:
    """An index of two images with a referrer, a referrer of that, one of a child, and a signature by cosign's tag."""
    tag = name("index").replace(":", "-") + ".sig"
    return Shape(
        {"index": "child_a child_b", "child_a": "", "child_b": "", "note": "", "seal": "", "sbom": "", "signature": ""},
        {"v1": "index", tag: "signature"},
        {"note": "index", "seal": "note", "sbom": "child_a"},
    )


def test_companions_go_with_their_subject(signed: Shape) -> None:
    assert signed.without("v1")[:2] == (set(), set())


def test_companions_stay_with_their_subject() -> None:
    tag = name("image").replace(":", "-") + ".sig"
    shape = Shape(
        {"image": "", "note": "", "signature": ""}, {"v1": "image", "v2": "image", tag: "signature"}, {"note": "image"}
    )
    assert shape.without("v1")[:2] == ({"image", "note", "signature"}, {"v2", tag})


def test_companions_can_be_removed_alone(signed: Shape) -> None:
    tag = next(tag for tag in signed.snapshot.tags if tag.endswith(".sig"))
    manifests, tags, needed = signed.without(tag, digests=["note"])
    assert manifests == {"index", "child_a", "child_b", "sbom"}, "what refers to the note goes with it"
    assert tags == {"v1"}
    assert not needed


def test_a_signature_that_is_tagged_otherwise_too_outlives_its_subject() -> None:
    tag = name("image").replace(":", "-") + ".sig"
    shape = Shape({"image": "", "signature": ""}, {"v1": "image", tag: "signature", "kept": "signature"})
    assert shape.without("v1")[:2] == ({"signature"}, {"kept"})


def test_what_is_not_there_changes_nothing(lists: Shape) -> None:
    before = lists.snapshot
    removal = plan_removal(before, tags=["nothing"], digests=[name("nobody")], children=lists.children)
    assert (removal.left.tags, removal.left.manifests) == (before.tags, before.manifests)
