"""What a folder has is found, and what is broken of it is told by name; no blob is read for that."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import LayoutInvalid, RemoteCorrupt, RemoteLeftOut
from oci.folders import stock
from oci.folders.docker_registry import RegistryStorage
from oci.folders.image_layouts import ImageLayouts, open_layout
from oci.folders.stock import FolderRepository
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests.folders import data_path, registry_root, revision_link, tag_link, write, write_layout, write_repository

NAME = "team/app"
ARM, AMD = Platform("linux", "arm64"), Platform("linux", "amd64")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def image(store: MemoryStore) -> Manifest:
    made = pack_image(store, [{"file": "one"}])
    store.put_tag("v1", made.digest)
    return made


def opened(root: Path, store: MemoryStore, name: str = NAME) -> FolderRepository:
    write_repository(root, name, store)
    return RegistryStorage(root).open(name)


def test_a_repository_has_tags_untagged_manifests_referrers_and_bytes(
    tmp_path: Path, store: MemoryStore, image: Manifest
) -> None:
    other = pack_image(store, [{"file": "two"}], platform=ARM)
    index = pack_index(store, [(image, AMD), (other, ARM)])
    store.put_tag("multi", index.digest)
    dangling = pack_image(store, [{"file": "old"}])
    signature = pack_artifact(store, "application/vnd.test.signature", [("text/plain", b"s")], subject=dangling)
    found = opened(tmp_path, store)
    assert found.tagged == store.tagged
    assert found.untagged() == (dangling.digest,)
    assert found.manifests.keys() == store.manifests.keys()
    assert found.blobs == {digest: len(data) for digest, data in store.blobs.items()}
    assert not found.faults.count
    assert found.lacking() == 0
    assert [one.digest for one in asyncio.run(_referrers(found, dangling.digest))] == [signature.digest]
    assert found.reached([index.digest]) == {index.digest, image.digest, other.digest}
    assert found.reached([dangling.digest]) == {dangling.digest, signature.digest}


async def _referrers(found: FolderRepository, digest: Digest) -> Sequence[Descriptor]:
    return await found.referrers(digest)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutInvalid, match="no docker/registry/v2/repositories"):
        RegistryStorage(tmp_path)
    with pytest.raises(LayoutInvalid, match="no image layout in it"):
        list(ImageLayouts(tmp_path).names())
    with pytest.raises(LayoutInvalid):
        open_layout(tmp_path)


def test_repositories_are_found_at_any_depth_and_within_others(tmp_path: Path, store: MemoryStore) -> None:
    for name in ("app", "app/tools", "a/b/c"):
        write_repository(tmp_path, name, store)
    (registry_root(tmp_path) / "repositories" / "Upper" / "_manifests").mkdir(parents=True)
    (registry_root(tmp_path) / "repositories" / "linked").symlink_to("app")
    storage = RegistryStorage(tmp_path)
    assert list(storage.names()) == ["a/b/c", "app", "app/tools"]
    assert storage.strange == {
        "Upper": "is no name of a repository",
        "linked": "is a symbolic link, which is not followed",
    }
    assert list(RegistryStorage(registry_root(tmp_path)).names()) == ["a/b/c", "app", "app/tools"]


def _without(root: Path, digest: Digest) -> None:
    data_path(root, digest).unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root, image: data_path(root, image.layers[0].digest).unlink(), "is missing"),
        (lambda root, image: data_path(root, image.layers[0].digest).write_bytes(b"x"), "has 1 bytes, but manifest"),
        (lambda root, image: data_path(root, image.digest).write_bytes(b"{}"), "is damaged: its 2 bytes are sha256:44"),
        (lambda root, image: data_path(root, image.digest).unlink(), "is missing"),
        (lambda root, image: revision_link(root, NAME, image.digest).unlink(), "which the repository does not have"),
        (lambda root, image: revision_link(root, NAME, image.digest).write_bytes(b"junk"), "its link is damaged"),
        (lambda root, _image: tag_link(root, NAME, "v1").write_bytes(b"sha256:../../etc"), "its link is damaged"),
        (lambda root, _image: tag_link(root, NAME, "v1").unlink(), "has no link"),
        (lambda root, _image: tag_link(root, NAME, "v1").write_bytes(b"x" * 300), "larger than the limit of 256"),
    ],
)
def test_what_is_broken_is_told_for_its_tag_and_the_others_are_whole(
    tmp_path: Path, store: MemoryStore, image: Manifest, harm: object, said: str
) -> None:
    good = pack_image(store, [{"file": "good"}])
    store.put_tag("good", good.digest)
    write_repository(tmp_path, NAME, store)
    harm(tmp_path, image)  # type: ignore[operator]
    found = RegistryStorage(tmp_path).open(NAME)
    assert found.tagged == {"good": good.digest}
    assert said in found.faults.reasons["v1"]
    with pytest.raises(RemoteCorrupt):
        asyncio.run(found.resolve("v1"))
    assert asyncio.run(found.resolve("good")).digest == good.digest


def test_a_child_that_the_registry_itself_lacks_is_left_out_and_no_fault(
    tmp_path: Path, store: MemoryStore, image: Manifest
) -> None:
    other = pack_image(store, [{"file": "two"}], platform=ARM)
    index = pack_index(store, [(image, AMD), (other, ARM)])
    store.put_tag("multi", index.digest)
    del store.manifests[other.digest]
    found = opened(tmp_path, store)
    assert (found.faults.count, found.lacking()) == (0, 1)
    with pytest.raises(RemoteLeftOut):
        asyncio.run(found.read_manifest(other.descriptor))


def test_links_of_tags_are_not_followed(tmp_path: Path, store: MemoryStore, image: Manifest) -> None:
    write_repository(tmp_path, NAME, store)
    tags = registry_root(tmp_path) / "repositories" / NAME / "_manifests" / "tags"
    (tags / "latest").symlink_to("v1")
    found = RegistryStorage(tmp_path).open(NAME)
    assert found.faults.reasons == {"latest": "is a symbolic link, which is not followed"}
    assert found.tagged == {"v1": image.digest}


def test_the_folder_proves_only_what_it_has_delivered_and_has_still(
    tmp_path: Path, store: MemoryStore, image: Manifest
) -> None:
    found, layer = opened(tmp_path, store), image.layers[0].digest
    assert asyncio.run(found.proves(layer, {found.delivered_by(layer)}))
    assert not asyncio.run(found.proves(layer, {"https://registry.example"}))
    _without(tmp_path, layer)
    assert not asyncio.run(found.proves(layer, {found.delivered_by(layer)}))


# --- image layouts ---------------------------------------------------------------------------------------------


def test_layouts_are_repositories_by_their_paths(tmp_path: Path, store: MemoryStore, image: Manifest) -> None:
    index = pack_index(store, [(image, AMD)])
    store.put_tag("multi", index.digest)
    signature = pack_artifact(store, "application/vnd.test.signature", [("text/plain", b"s")], subject=index)
    write_layout(tmp_path / "team" / "app", store, listed=(signature,))
    write_layout(tmp_path / "Bad", store)
    layouts = ImageLayouts(tmp_path)
    assert list(layouts.names()) == ["team/app"]
    assert layouts.strange == {"Bad": "is no name of a repository"}
    found = layouts.open("team/app")
    assert found.tagged == store.tagged
    assert found.manifests.keys() == store.manifests.keys()
    assert found.untagged() == ()  # the signature comes with what it refers to
    assert not found.faults.count


def test_a_folder_that_is_a_layout_gives_its_own_name(tmp_path: Path, store: MemoryStore, image: Manifest) -> None:
    write_layout(tmp_path / "app", store)
    assert list(ImageLayouts(tmp_path / "app").names()) == ["app"]
    assert ImageLayouts(tmp_path / "app").open("app").tagged == {"v1": image.digest}
    write_layout(tmp_path / "Any Name", store)
    assert open_layout(tmp_path / "Any Name").tagged == {"v1": image.digest}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("oci-layout", '{"imageLayoutVersion": "2.0.0"}', "version '2.0.0' is not known"),
        ("index.json", '{"manifests": 1}', "no list of manifests"),
        ("index.json", "[" * 100_000, "is not JSON"),
        ("index.json", "[]", "no object"),
    ],
)
def test_a_layout_that_is_none_is_told(tmp_path: Path, store: MemoryStore, name: str, text: str, said: str) -> None:
    write_layout(tmp_path / "app", store)
    write(tmp_path / "app" / name, text)
    with pytest.raises(RemoteCorrupt, match=said):
        ImageLayouts(tmp_path).open("app")


def test_indexes_that_list_without_end_are_broken_off(
    tmp_path: Path, store: MemoryStore, image: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "MAX_LISTED", 1)
    other = pack_image(store, [{"file": "two"}], platform=ARM)
    store.put_tag("multi", pack_index(store, [(image, AMD), (other, ARM)]).digest)
    found = opened(tmp_path, store)
    assert "list more than 1 manifests" in found.faults.reasons["multi"]
    assert found.tagged == {"v1": image.digest}


def test_names_that_are_no_tags_are_told_and_their_manifests_come_without_one(
    tmp_path: Path, store: MemoryStore, image: Manifest
) -> None:
    write_layout(tmp_path / "app", store)
    index = json.loads((tmp_path / "app" / "index.json").read_text())
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "docker.io/app:v1"}
    index["manifests"].append({"mediaType": 1})
    write(tmp_path / "app" / "index.json", json.dumps(index))
    found = ImageLayouts(tmp_path).open("app")
    assert found.untagged() == (image.digest,)
    assert found.faults.count == 2
