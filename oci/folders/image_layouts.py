"""A folder of OCI image layouts: each is a repository, named by its path. Source: image-spec, image-layout.md."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, LayoutInvalid, RemoteCorrupt
from oci.folders.contained import LINKED, ContainedFolder, shown_name
from oci.folders.stock import BlobFolder, Faults, FolderRepository, Links, take_stock
from oci.layout import TAG
from oci.reference import MAX_NAME, is_name, is_tag

MAX_INDEX = 8 * 1024 * 1024
"""Bytes of an index.json at most."""

_MARK = "oci-layout"
_MAX_MARK = 4096


@dataclass(frozen=True, slots=True)
class ImageLayouts:
    """A folder with image layouts at any depth, or a folder that is one. Nothing in it is changed.

    `strange` are layouts that cannot be repositories, each with the reason; filled by `names`.
    """

    root: Path
    strange: dict[str, str] = field(default_factory=dict)

    def names(self) -> Iterator[str]:
        """Yield the names of all layouts, in ASCII order: their paths below the folder, or the folder's own name.

        Raises LayoutInvalid where there is none.
        """
        folder, count = ContainedFolder(self.root), 0
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            try:
                is_layout = _MARK in folder.files(*parts)
                below = [] if is_layout else folder.subfolders(*parts)
                links = [] if is_layout else folder.links(*parts)
            except EntrepotError as error:
                self.strange[shown_name("/".join(parts))] = error.message
                continue
            self.strange.update((shown_name("/".join((*parts, one))), LINKED) for one in links)
            name = "/".join(parts) or self.root.resolve().name
            count += is_layout
            if is_layout and is_name(name):
                yield name
            elif is_layout:
                self.strange[shown_name(name)] = "is no name of a repository"
            elif len(name) <= MAX_NAME:
                waiting += [(*parts, one) for one in reversed(below)]
        if not count and not self.strange:
            raise LayoutInvalid(f"{self.root} has no image layout in it: no folder with a file {_MARK}")

    def links(self, name: str) -> Links:
        """Read the index of a layout; raise RemoteCorrupt for one that is none."""
        return _read_links(self._layout(name))

    def open(self, name: str) -> FolderRepository:
        """Read a layout's manifests; raise RemoteCorrupt for a layout that is none."""
        path = self.root if self._is_root(name) else self.root / name
        return _open(name, self._layout(name), path)

    def _layout(self, name: str) -> ContainedFolder:
        """Return the folder of a layout, which is opened below the root part by part."""
        return ContainedFolder(self.root, () if self._is_root(name) else tuple(name.split("/")))

    def _is_root(self, name: str) -> bool:
        return name == self.root.resolve().name and _MARK in ContainedFolder(self.root).files()


def open_layout(path: Path) -> FolderRepository:
    """Read one image layout, whatever its folder is called; raise LayoutInvalid for a folder that is none."""
    folder = ContainedFolder(path)
    if not path.is_dir() or _MARK not in folder.files():
        raise LayoutInvalid(f"{path} is no image layout: {_MARK} is missing")
    return _open(str(path), folder, path)


def _open(name: str, folder: ContainedFolder, path: Path) -> FolderRepository:
    store = BlobFolder(folder, _parts_of, f"folder:{os.path.realpath(path)}")
    return take_stock(name, store, _read_links(folder), follow=True)


def _read_links(folder: ContainedFolder) -> Links:
    version = _read_object(folder, _MARK, _MAX_MARK).get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise RemoteCorrupt(f"image layout version {str(version)[:50]!r} is not known; 1.0.0 is")
    listed = _read_object(folder, "index.json", MAX_INDEX).get("manifests")
    if not isinstance(listed, list):
        raise RemoteCorrupt("index.json has no list of manifests")
    tags: dict[str, Digest] = {}
    manifests: dict[Digest, str] = {}
    faults = Faults()
    for number, value in enumerate(listed):
        try:
            entry = Descriptor.from_json(value, where=f"manifests[{number}]")
        except EntrepotError as error:
            faults.add(f"index.json:{number}", error.message)
            continue
        manifests[entry.digest] = entry.media_type
        tag = entry.annotations.get(TAG, "")
        if is_tag(tag):
            tags[tag] = entry.digest
        elif tag:
            faults.add(f"name:{shown_name(tag)}", "is no name of a tag; its manifest comes without one")
    return Links(tags, manifests, faults)


def _parts_of(digest: Digest) -> tuple[str, ...]:
    return ("blobs", digest.algorithm, digest.encoded)


def _read_object(folder: ContainedFolder, name: str, limit: int) -> Mapping[str, object]:
    try:
        document = json.loads(folder.read(name, limit=limit))
    except FileNotFoundError:
        raise RemoteCorrupt(f"{name} is missing") from None
    except (ValueError, RecursionError):
        raise RemoteCorrupt(f"{name} is not JSON") from None
    if not isinstance(document, dict):
        raise RemoteCorrupt(f"{name} is JSON, but no object")
    return document
