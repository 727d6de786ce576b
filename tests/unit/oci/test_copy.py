"""The one graph copy: its order, what it skips, and what it does with wrong bytes and with children that are missing."""

from collections.abc import AsyncIterator

import pytest

from oci import mediatypes
from oci.copy import MAX_DEPTH, GraphCopier, copy_graph
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, RemoteCorrupt, RemoteLeftOut
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform

pytestmark = pytest.mark.anyio
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Recorder(MemoryStore):
    """A target that remembers the order in which it was written to."""

    def __init__(self) -> None:
        super().__init__("target")
        self.written: list[Digest] = []

    async def write_blob(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        await super().write_blob(descriptor, chunks)
        self.written.append(descriptor.digest)

    async def write_manifest(self, manifest: Manifest) -> None:
        await super().write_manifest(manifest)
        self.written.append(manifest.digest)


class Altering(MemoryStore):
    """A source that sends wrong bytes, and has another place to read from for the first `places` reports of that."""

    def __init__(self, places: int) -> None:
        super().__init__("source")
        self.places, self.reports = places, 0

    async def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        async for chunk in super().read_blob(descriptor):
            yield chunk if self.reports else b"x" * len(chunk)

    def report_corrupt(self, _error: RemoteCorrupt, _digest: Digest) -> bool:
        self.reports += 1
        return self.reports <= self.places


class Sparse(MemoryStore):
    """A source that was made without some children."""

    def __init__(self) -> None:
        super().__init__("source")
        self.left_out: set[Digest] = set()

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        if descriptor.digest in self.left_out:
            raise RemoteLeftOut("was made without it")
        return await super().read_manifest(descriptor)


async def test_children_are_written_before_their_parents_and_shared_ones_once() -> None:
    source, target = MemoryStore(), Recorder()
    images = [pack_image(source, [{"shared": "by both"}, {"own": name}]) for name in ("one", "two")]
    index = pack_index(source, zip(images, (AMD64, ARM64), strict=True))
    report = await copy_graph(source, target, index.descriptor)
    assert len(target.written) == len(set(target.written)) == report.moved
    assert target.written[-1] == index.digest
    for image in images:
        place = target.written.index(image.digest)
        assert {blob.digest for _role, blob in image.children()} <= set(target.written[:place])
    again = await copy_graph(source, target, index.descriptor)
    assert (again.moved, again.skipped) == (0, 1)


async def test_a_manifest_of_which_a_part_is_missing_is_not_written() -> None:
    source, target = MemoryStore(), Recorder()
    image = pack_image(source, [{"file": "one"}])
    del source.blobs[image.layers[0].digest]
    with pytest.raises(BlobUnknown):
        await copy_graph(source, target, image.descriptor)
    assert image.digest not in target.manifests


async def test_wrong_bytes_are_reported_and_read_again_from_another_place() -> None:
    source, target = Altering(places=10), Recorder()
    image = pack_image(source, [{"file": "one"}])
    await copy_graph(source, target, image.descriptor)
    assert target.manifests[image.digest].raw == image.raw
    assert source.reports > 0


async def test_wrong_bytes_end_the_copy_where_there_is_no_other_place() -> None:
    source, target = Altering(places=0), Recorder()
    image = pack_image(source, [{"file": "one"}])
    with pytest.raises(RemoteCorrupt, match="not its descriptor's"):
        await copy_graph(source, target, image.descriptor)
    assert image.digest not in target.manifests


async def test_a_child_that_the_source_lacks_is_left_out_only_where_that_is_allowed() -> None:
    source = Sparse()
    images = [pack_image(source, [{"own": name}]) for name in ("one", "two")]
    index = pack_index(source, zip(images, (AMD64, ARM64), strict=True))
    source.left_out.add(images[1].digest)
    with pytest.raises(RemoteLeftOut):
        await copy_graph(source, Recorder(), index.descriptor)
    target = Recorder()
    await GraphCopier(source, target, may_lack=lambda _child, _error: True).copy(index.descriptor)
    assert set(target.manifests) == {index.digest, images[0].digest}
    source.left_out.add(index.digest)
    with pytest.raises(RemoteLeftOut):  # of a root nothing would be left
        await GraphCopier(source, Recorder(), may_lack=lambda _child, _error: True).copy(index.descriptor)


async def test_only_the_parts_that_are_asked_for_are_copied() -> None:
    source, target = MemoryStore(), Recorder()
    image = pack_image(source, [{"file": "one"}])
    copier = GraphCopier(
        source, target, parts=lambda manifest: (part for part in manifest.children() if part[0] != "layer")
    )
    await copier.copy(image.descriptor)
    assert image.config is not None
    assert target.written == [image.config.digest, image.digest]


async def test_indexes_that_nest_too_deep_are_an_attack() -> None:
    source = MemoryStore()
    manifest = pack_image(source, [{"file": "one"}])
    for _ in range(MAX_DEPTH + 1):
        manifest = pack_index(source, [(manifest, None)])
    assert manifest.media_type == mediatypes.OCI_INDEX
    with pytest.raises(RemoteCorrupt, match="deeper than"):
        await copy_graph(source, Recorder(), manifest.descriptor)
