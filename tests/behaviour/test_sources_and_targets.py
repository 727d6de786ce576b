"""One suite over every Source and Target: memory, layout, a repository of ours, and a real registry."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from catalog.catalog import Catalog
from catalog.content.copy_ends import RepositorySource, RepositoryTarget
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.snapshot import Snapshot
from oci.copy import GraphCopier, copy_graph
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import (
    DigestInvalid,
    EntrepotError,
    LayoutInvalid,
    ManifestUnknown,
    NotFound,
    RemoteCorrupt,
    RemoteError,
    RemoteNotFound,
    SizeInvalid,
)
from oci.layout import Layout
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.conftest import DockerRegistryFactory
from tests.homes import new_home
from tests.servers import Client
from tests.unit.catalog.conftest import commit_to

KINDS = ("memory", "layout", "catalog", "remote")


@dataclass
class Ends:
    """A place seen as a target, and, after `settle`, as a source."""

    target: Any
    settle: Callable[[], Any]


@pytest.fixture
def open_ends(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Any]:
    @asynccontextmanager
    async def open_one(kind: str) -> AsyncIterator[Ends]:
        if kind == "memory":
            store = MemoryStore()
            yield Ends(store, lambda: store)
        elif kind == "layout":
            layout = Layout.create(tmp_path / "layout")
            yield Ends(layout, lambda: Layout.open(tmp_path / "layout"))
        elif kind == "catalog":
            with Catalog(read_settings(home=new_home(tmp_path / "home"))) as catalog:
                target = RepositoryTarget(catalog, Snapshot("team/app", 0))
                yield Ends(target, lambda: commit_staged(catalog, target))
        else:
            registry = request.getfixturevalue("docker_registry")()
            async with RemoteTransport(registry.host) as transport:
                remote = RemoteRepository(transport, "team/app")
                yield Ends(remote, lambda: remote)

    return open_one


def commit_staged(catalog: Catalog, target: RepositoryTarget) -> RepositorySource:
    """Make a version of the tags written and all their manifests are made of."""
    changes: list[Any] = []
    for tag, digest in target.tags.items():
        waiting = [digest]
        while waiting:
            manifest = catalog.manifests.read(waiting.pop(), "")
            changes.insert(0, AddManifest(manifest.descriptor))
            waiting += [child.digest for child in manifest.manifests]
        changes.append(SetTag(tag, digest))
    commit_to(catalog, "team/app", *changes)
    return RepositorySource(catalog, catalog.snapshots.get("team/app"))


@pytest.fixture
def content() -> MemoryStore:
    """Several shapes: an index of two platforms, a docker image, an artifact with a subject, layers shared."""
    store = MemoryStore()
    shared = {"shared": "bytes " * 10_000}
    images = [
        pack_image(store, [shared, {"arch": name}], platform=Platform("linux", name)) for name in ("amd64", "arm64")
    ]
    index = pack_index(store, [(image, Platform("linux", name)) for image, name in zip(images, "ab", strict=True)])
    store.put_tag("latest", index.digest)
    store.put_tag("amd64", images[0].digest)
    store.put_tag("docker", pack_image(store, [shared], docker=True).digest)
    store.put_tag("sbom", pack_artifact(store, "application/spdx+json", [("text/plain", b"x")], subject=index).digest)
    store.put_tag("empty", pack_artifact(store, "application/x.empty").digest)
    return store


async def copy_all(source: Any, target: Any) -> int:
    """Copy every tag; return how many items were moved."""
    moved = 0
    async for tag in source.tags():
        descriptor = await source.resolve(tag)
        moved += (await copy_graph(source, target, descriptor)).moved
        await target.write_tag(tag, await source.read_manifest(descriptor))
    return moved


@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_in_comes_out_to_the_byte(open_ends: Callable[[str], Any], content: MemoryStore, kind: str) -> None:
    async def main() -> None:
        async with open_ends(kind) as ends:
            assert await copy_all(content, ends.target) == len(content.blobs) + len(content.manifests)
            source, back = ends.settle(), MemoryStore()
            assert sorted([tag async for tag in source.tags()]) == sorted(content.tagged)
            for tag, digest in content.tagged.items():
                assert (await source.resolve(tag)).digest == digest
                assert (await source.resolve(digest)).digest == digest
            await copy_all(source, back)
            assert (back.blobs, back.tagged) == (content.blobs, content.tagged)
            assert {digest: found.raw for digest, found in back.manifests.items()} == {
                digest: found.raw for digest, found in content.manifests.items()
            }

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_copy_moves_nothing(open_ends: Callable[[str], Any], content: MemoryStore, kind: str) -> None:
    async def main() -> None:
        async with open_ends(kind) as ends:
            await copy_all(content, ends.target)
            assert await copy_all(content, ends.target) == 0

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["other bytes", "too short", "too long"])
def test_bytes_that_are_not_the_descriptors_are_refused_and_leave_nothing(
    open_ends: Callable[[str], Any], tmp_path: Path, kind: str, fault: str
) -> None:
    data = b"the right bytes" * 1000
    sent = {"other bytes": data[::-1], "too short": data[:-1], "too long": data + b"!"}[fault]
    descriptor = Descriptor("application/octet-stream", Digest.of(data), len(data))

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(sent), 4000):
            yield sent[start : start + 4000]

    async def main() -> None:
        async with open_ends(kind) as ends:
            with pytest.raises((DigestInvalid, SizeInvalid, RemoteError)):
                await ends.target.write_blob(descriptor, chunks())
            assert not await ends.target.has(descriptor)

    asyncio.run(main())
    assert not [
        path for path in tmp_path.rglob("*") if path.name.startswith(".staged") or path.parent.name == "staging"
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_there_is_told(open_ends: Callable[[str], Any], content: MemoryStore, kind: str) -> None:
    async def main() -> None:
        async with open_ends(kind) as ends:
            await copy_all(content, ends.target)
            source = ends.settle()
            absent = Descriptor(content.manifests[content.tagged["amd64"]].media_type, Digest.of(b"absent"), 6)
            for act in (source.resolve("absent"), source.resolve(absent.digest), source.read_manifest(absent)):
                with pytest.raises((NotFound, RemoteNotFound)):
                    await act
            with pytest.raises((NotFound, RemoteNotFound)):
                async for _ in source.read_blob(absent):
                    pass

    asyncio.run(main())


# --- the copy itself ---


class Slow(MemoryStore):
    """Counts reads, and keeps each under way until others have begun."""

    def __init__(self, content: MemoryStore, broken: str = "") -> None:
        super().__init__()
        self.blobs, self.manifests, self.tagged = content.blobs, content.manifests, content.tagged
        self.reads: list[str] = []
        self.under_way = self.most = 0
        self.broken = broken

    async def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        self.reads.append(descriptor.digest)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            for _ in range(10):
                await asyncio.sleep(0)
            if descriptor.digest == self.broken:
                raise RemoteNotFound(f"blob {descriptor.digest} is gone", registry="upstream")
            yield self.blobs[descriptor.digest]
        finally:
            self.under_way -= 1


class Ordered(MemoryStore):
    """Refuses a manifest before its parts."""

    async def write_manifest(self, manifest: Any) -> None:
        for _, child in manifest.children():
            assert await self.has(child), f"{manifest.digest} came before {child.digest}"
        await super().write_manifest(manifest)


def test_children_come_before_parents_each_blob_once_and_bounded(content: MemoryStore) -> None:
    async def main() -> None:
        source, target = Slow(content), Ordered()
        copier = GraphCopier(source, target, concurrency=2)
        await asyncio.gather(*(copier.copy(content.manifests[digest].descriptor) for digest in content.tagged.values()))
        assert sorted(source.reads) == sorted(set(source.reads))
        assert source.most == 2
        assert target.blobs == content.blobs

    asyncio.run(main())


def test_a_part_that_fails_fails_what_needs_it_and_leaves_nothing_running(content: MemoryStore) -> None:
    index = content.manifests[content.tagged["latest"]]
    broken = content.manifests[index.manifests[1].digest].layers[1].digest

    async def main() -> None:
        source, target = Slow(content, broken), Ordered()
        with pytest.raises(RemoteNotFound, match=broken):
            await copy_graph(source, target, index.descriptor)
        assert index.digest not in target.manifests
        assert source.under_way == 0
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_indexes_nested_too_deep_are_refused() -> None:
    store = MemoryStore()
    index = pack_index(store, [])
    for _ in range(20):
        index = pack_index(store, [(index, None)])
    with pytest.raises(RemoteCorrupt, match="deeper than"):
        asyncio.run(copy_graph(store, MemoryStore(), index.descriptor))


# --- layouts of others ---


def test_a_layout_of_skopeo_is_read(
    tmp_path: Path, skopeo: Client, docker_registry: DockerRegistryFactory, content: MemoryStore
) -> None:
    registry = docker_registry()

    async def push() -> None:
        async with RemoteTransport(registry.host) as transport:
            await copy_all(content, RemoteRepository(transport, "team/app"))

    asyncio.run(push())
    source = f"docker://{registry.host}/team/app:latest"
    skopeo("copy", "--all", "--src-tls-verify=false", source, f"oci:{tmp_path}/theirs:latest")
    back = MemoryStore()
    asyncio.run(copy_all(Layout.open(tmp_path / "theirs"), back))
    assert back.tagged == {"latest": content.tagged["latest"]}


def test_skopeo_reads_our_layout(tmp_path: Path, skopeo: Client, content: MemoryStore) -> None:
    asyncio.run(copy_all(content, Layout.create(tmp_path / "ours")))
    raw = skopeo("inspect", "--raw", f"oci:{tmp_path}/ours:latest").stdout
    assert raw.encode() == content.manifests[content.tagged["latest"]].raw


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "oci-layout").unlink(), "oci-layout is missing"),
        (lambda path: (path / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}'), "2.0.0"),
        (lambda path: (path / "index.json").write_text("{"), "not JSON"),
        (lambda path: (path / "index.json").write_text("[]"), "not an object"),
        (lambda path: (path / "index.json").write_text('{"manifests": 5}'), "no list"),
        (lambda path: (path / "index.json").write_text('{"manifests": [{}]}'), r"manifests\[0\]"),
    ],
)
def test_a_folder_that_is_no_layout_is_told(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    Layout.create(tmp_path / "layout")
    damage(tmp_path / "layout")
    with pytest.raises(LayoutInvalid, match=message):
        Layout.open(tmp_path / "layout")


def test_a_flipped_byte_in_a_layout_is_named(tmp_path: Path, content: MemoryStore) -> None:
    async def main() -> None:
        layout = Layout.create(tmp_path / "layout")
        await copy_all(content, layout)
        layer = content.manifests[content.tagged["amd64"]].layers[0]
        path = layout.blob_path(layer.digest)
        path.write_bytes(b"!" + path.read_bytes()[1:])
        with pytest.raises(EntrepotError, match=layer.digest):
            await copy_all(layout, MemoryStore())
        manifest = layout.blob_path(content.tagged["amd64"])
        manifest.write_bytes(manifest.read_bytes() + b" ")
        with pytest.raises(SizeInvalid, match=content.tagged["amd64"]):
            await layout.read_manifest(content.manifests[content.tagged["amd64"]].descriptor)
        manifest.unlink()
        with pytest.raises(ManifestUnknown):
            await layout.read_manifest(content.manifests[content.tagged["amd64"]].descriptor)

    asyncio.run(main())


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(LayoutInvalid, match="neither empty"):
        Layout.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["notes.txt"]
