"""Content as edits leave it."""

import re

import pytest

from catalog.content.edits import Edits, TagEdit, apply_edits
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import Conflict, EntrepotError, InvalidInput, ManifestUnknown

OLD, NEW, LIST = (Digest.of(text) for text in (b"old", b"new", b"list"))
CHILDREN = {LIST: (NEW,)}


def content(**tags: Digest) -> Snapshot:
    return Snapshot("team/app", 3, tags, {one: ManifestEntry(mediatypes.OCI_MANIFEST, 1) for one in (OLD, NEW, LIST)})


def edited(
    before: Snapshot, *, tag: tuple[str, ...] = (), untag: tuple[str, ...] = (), remove: tuple[str, ...] = ()
) -> Snapshot:
    return apply_edits(before, Edits(tuple(map(TagEdit.parse, tag)), untag, remove), lambda: CHILDREN)


def test_a_tag_is_set_moved_and_taken_away() -> None:
    before = content(v1=OLD, v2=NEW)
    assert edited(before, tag=("stable=v1",)).tags == {"v1": OLD, "v2": NEW, "stable": OLD}
    assert edited(before, tag=("v1=v2",)).tags == {"v1": NEW, "v2": NEW}
    assert edited(before, tag=(f"named={LIST}",)).tags["named"] == LIST
    assert edited(before, untag=("v*",)).tags == {}
    assert edited(before, untag=("v*",)).manifests == before.manifests, "what is untagged stays"


def test_a_tag_is_renamed_in_one_go() -> None:
    after = edited(content(v1=OLD), tag=("first=v1",), remove=("v1",))
    assert after.tags == {"first": OLD}
    assert OLD in after.manifests


def test_what_is_removed_goes_with_what_it_alone_needs() -> None:
    after = edited(content(old=OLD, both=LIST), remove=("both",))
    assert set(after.manifests) == {OLD}
    after = edited(content(old=OLD, both=LIST, one=NEW), remove=("both",))
    assert set(after.manifests) == {OLD, NEW}
    assert set(edited(content(new=LIST), remove=(OLD,)).manifests) == {NEW, LIST}


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"tag": ("stable=v9",)}, ManifestUnknown, "v9 is not among the content of team/app; it has the tags v1"),
        ({"untag": ("v9",)}, InvalidInput, "no tag matches v9; there are v1"),
        ({"remove": ("v9*",)}, InvalidInput, "no tag matches v9*; there are v1"),
        ({"remove": (Digest.of(b"nobody"),)}, ManifestUnknown, "is not among the content"),
        ({"remove": (OLD,)}, Conflict, "it is tagged v1; remove that too, or untag it"),
        ({"remove": (NEW,)}, Conflict, f"it is part of {LIST}"),
        ({"untag": ("re:(",)}, InvalidInput, "expected a regular expression"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(
    wrong: dict[str, tuple[str, ...]], error: type[EntrepotError], said: str
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        edited(content(v1=OLD), **wrong)


@pytest.mark.parametrize("text", ["stable", "stable=", "=v1", "UP PER=v1", "v1=sha256:12"])
def test_texts_that_set_no_tag(text: str) -> None:
    with pytest.raises(InvalidInput):
        TagEdit.parse(text)
