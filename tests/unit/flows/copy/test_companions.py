"""Companions of a source that lies about who refers to whom: the walk ends, and says what it leaves out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest

from catalog.filters.companions import CompanionFilter
from catalog.filters.platforms import PlatformFilter
from flows.copy import companions
from flows.copy.companions import CopiedCompanions
from flows.copy.narrowed import NarrowedSource
from flows.runs.run_log import RunLog
from oci.copy import MAX_DEPTH, GraphCopier
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image


class LyingSource(MemoryStore):
    """Lists as referrers what a test says."""

    def __init__(self) -> None:
        super().__init__("liar")
        self.listed: dict[Digest, list[Descriptor]] = {}
        self.asked: list[Digest] = []

    def says(self, subject: Manifest, *referrers: Manifest) -> None:
        self.listed.setdefault(subject.digest, []).extend(one.descriptor for one in referrers)

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        self.asked.append(digest)
        return self.listed.get(digest, ())

    def read_blob(self, descriptor: Descriptor, _start: int = 0) -> AsyncIterator[bytes]:
        return super().read_blob(descriptor)

    def artifact(self, name: str, subject: Manifest | None = None) -> Manifest:
        return pack_artifact(self, "text/plain", [("text/plain", name.encode())], subject=subject)


class ListingTarget(MemoryStore):
    """Takes everything, and notes which referrers it was told of."""

    def __init__(self) -> None:
        super().__init__("target")
        self.told: dict[Digest, list[Digest]] = {}

    async def referring(self, _subject: Digest, /) -> set[Digest]:
        return set()

    async def add_referrers(self, subject: Digest, /, referrers: Sequence[Manifest]) -> None:
        self.told.setdefault(subject, []).extend(one.digest for one in referrers)


def copied(source: LyingSource, *roots: Manifest) -> tuple[ListingTarget, list[str]]:
    target, log = ListingTarget(), RunLog[str]()

    async def run() -> None:
        copier = GraphCopier(source, target)
        narrowed = NarrowedSource(source, PlatformFilter())
        copying = CopiedCompanions(narrowed, target, copier, CompanionFilter(), log, listed=())  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await asyncio.gather(*(copying.copy(root.descriptor) for root in roots))
        await copier.close()

    asyncio.run(run())
    return target, log.notes


def test_referrers_that_refer_to_each_other_are_copied_once_each() -> None:
    source = LyingSource()
    image = pack_image(source, [{"file": "content"}])
    one, other = source.artifact("one"), source.artifact("other")
    source.says(image, one)
    source.says(one, other)
    source.says(other, one, image, other)
    target, notes = copied(source, image, one)
    assert sorted(source.asked) == sorted([image.digest, one.digest, other.digest])
    assert {one.digest, other.digest} <= target.manifests.keys()
    assert notes == []


def test_a_referrer_that_names_another_subject_is_left_out() -> None:
    source = LyingSource()
    image, elsewhere = pack_image(source, [{"file": "content"}]), source.artifact("elsewhere")
    true, false = source.artifact("true", image), source.artifact("false", elsewhere)
    source.says(image, false, true)
    target, notes = copied(source, image)
    assert target.told == {image.digest: [true.digest]}
    assert false.digest not in target.manifests
    assert len(notes) == 1
    assert f"it refers to {elsewhere.digest}" in notes[0]


def test_a_chain_of_referrers_ends_at_the_greatest_depth() -> None:
    source = LyingSource()
    image = pack_image(source, [{"file": "content"}])
    chain = [image, *(source.artifact(str(number)) for number in range(MAX_DEPTH + 3))]
    for subject, referrer in pairwise(chain):
        source.says(subject, referrer)
    target, notes = copied(source, image)
    assert len(target.told) == MAX_DEPTH + 1
    assert f"more than {MAX_DEPTH} steps away" in notes[0]


@pytest.mark.parametrize("is_nested", [False, True])
def test_no_more_than_so_many_referrers_are_followed(monkeypatch: pytest.MonkeyPatch, *, is_nested: bool) -> None:
    monkeypatch.setattr(companions, "MOST_REFERRERS", 5)
    source = LyingSource()
    image = pack_image(source, [{"file": "content"}])
    if is_nested:
        for number in range(4):
            inner = source.artifact(f"inner {number}")
            source.says(image, inner)
            source.says(inner, *(source.artifact(f"{number} {leaf}") for leaf in range(4)))
    else:
        source.says(image, *(source.artifact(str(number)) for number in range(9)))
    target, notes = copied(source, image)
    assert len(source.asked) <= 6
    assert len(target.told[image.digest]) <= 5
    assert len(notes) == 1
    assert "left out" in notes[0]
