"""What counts as a change of a tag: a table of what was known, what was seen, and what is told."""

from datetime import UTC, datetime, timedelta

import pytest

from catalog.watch.judgement import IMMUTABLE, judge_sighting, must_not_move
from catalog.watch.sightings import SeenSignature, SeenTag, Sighting, Signatures, TagGone, WatchedTag
from oci.digest import Digest

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
NOW = FIRST + timedelta(days=1)
A, B = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)
ALICE: Signatures = {Digest("sha256:" + "1" * 64): SeenSignature("alice", "tag")}
ALICE_AGAIN: Signatures = {Digest("sha256:" + "2" * 64): SeenSignature("alice", "tag")}
BOB: Signatures = {Digest("sha256:" + "3" * 64): SeenSignature("bob", "tag")}


def known(digest: Digest | None = A, *, gone: bool = False, signatures: Signatures | None = None) -> WatchedTag:
    return WatchedTag("v1", digest, FIRST, vanished_at=FIRST if gone else None, signatures=signatures)


@pytest.mark.parametrize(
    ("before", "sighting", "told"),
    [
        (None, SeenTag(A), ["new"]),
        (None, TagGone(), []),
        (known(), SeenTag(A), []),
        (known(), SeenTag(B), ["moved"]),
        (known(), TagGone(), ["vanished"]),
        (known(gone=True), TagGone(), []),
        (known(gone=True), SeenTag(A), ["returned"]),
        (known(gone=True), SeenTag(B), ["returned", "moved"]),
        (known(None), SeenTag(A), []),
        (known(None), TagGone(), []),
        (known(), SeenTag(A, ALICE), []),
        (known(signatures={}), SeenTag(A, ALICE), []),
        (known(signatures=ALICE), SeenTag(A), []),
        (known(signatures=ALICE), SeenTag(A, ALICE_AGAIN), []),
        (known(signatures=ALICE), SeenTag(A, {}), ["signature-lost"]),
        (known(signatures=ALICE), SeenTag(B, {}), ["moved", "signature-lost"]),
        (known(signatures=ALICE), SeenTag(A, BOB), ["signer-changed"]),
        (known(signatures=ALICE), SeenTag(A, {**ALICE, **BOB}), ["signer-changed"]),
    ],
)
def test_changes_of_a_tag(before: WatchedTag | None, sighting: Sighting, told: list[str]) -> None:
    _, changes = judge_sighting(before, "v1", sighting, NOW, is_covered=True, is_immutable=False)
    assert [one.kind for one in changes] == told


def test_a_tag_that_no_watch_would_have_seen_is_not_new() -> None:
    found, changes = judge_sighting(None, "v1", SeenTag(A), NOW, is_covered=False, is_immutable=False)
    assert (found, changes) == (WatchedTag("v1", A, NOW), [])


def test_a_move_is_remembered_and_that_of_a_full_version_is_another_event() -> None:
    found, [told] = judge_sighting(known(), "v1", SeenTag(B), NOW, is_covered=True, is_immutable=True)
    assert found == WatchedTag("v1", B, FIRST, moved_from=A, moved_at=NOW, moves=1)
    assert (told.previous, told.digest, told.severity, told.action) == (A, B, "warning", "watch-immutable-moved")
    _, [plain] = judge_sighting(known(), "v1", SeenTag(B), NOW, is_covered=True, is_immutable=False)
    assert (plain.severity, plain.action) == ("info", "watch-tag-moved")


@pytest.mark.parametrize(
    ("tag", "fixed"),
    [
        ("1.2.3", True), ("v1.2.3", True), ("1.2.3-alpine", True), ("v1.2.3_up4", True), ("1.2.3.4", True),
        ("1.2", False), ("v1", False), ("latest", False), ("1.2.x", False), ("alpine-1.2.3", False),
    ],
)  # fmt: skip
def test_tags_that_look_like_a_full_version_must_not_move(tag: str, fixed: bool) -> None:
    assert must_not_move(IMMUTABLE)(tag) is fixed
    assert not must_not_move(())(tag)
