"""The storage folder of docker-registry (distribution). Source: distribution, registry/storage/paths.go, layout v2."""

import os
from collections.abc import Iterator
from pathlib import Path

from oci.digest import HEX_LENGTH, Digest
from oci.errors import DigestInvalid, EntrepotError, LayoutInvalid, RemoteCorrupt
from oci.folders.contained import LINKED, ContainedFolder, shown_name
from oci.folders.stock import BlobFolder, Faults, FolderRepository, Links, take_stock
from oci.reference import MAX_NAME, is_name, is_tag

_V2 = ("docker", "registry", "v2")
_LINK = 256
"""Bytes of a link file at most: it holds one digest."""


class RegistryStorage:
    """The folder that docker-registry is configured with, or the folder `v2` within it. Nothing in it is changed."""

    def __init__(self, root: Path) -> None:
        self._folder = ContainedFolder(root)
        below = [parts for parts in (_V2, ()) if self._folder.subfolders(*parts, "repositories")]
        empty = [parts for parts in (_V2, ()) if "repositories" in self._folder.subfolders(*parts)]
        if not below and not empty:
            raise LayoutInvalid(
                f"{root} is no storage folder of docker-registry: it has no {'/'.join(_V2)}/repositories"
            )
        self._base: tuple[str, ...] = (below or empty)[0]
        self._store = BlobFolder(self._folder, self._parts_of, f"folder:{os.path.realpath(root)}")
        self.strange: dict[str, str] = {}
        """Folders among the repositories that are none, each with the reason; filled by `names`."""

    def _parts_of(self, digest: Digest) -> tuple[str, ...]:
        return (*self._base, "blobs", digest.algorithm, digest.encoded[:2], digest.encoded, "data")

    def names(self) -> Iterator[str]:
        """Yield the names of all repositories, those in others too, in ASCII order."""
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            name = "/".join(parts)
            try:
                folders = self._folder.subfolders(*self._base, "repositories", *parts)
                links = self._folder.links(*self._base, "repositories", *parts)
            except EntrepotError as error:
                self.strange[shown_name(name)] = error.message
                continue
            self.strange |= {shown_name("/".join((*parts, one))): LINKED for one in links}
            if "_manifests" in folders:
                if is_name(name):
                    yield name
                else:
                    self.strange[shown_name(name)] = "is no name of a repository"
            if len(name) <= MAX_NAME:
                waiting += [(*parts, one) for one in reversed(folders) if not one.startswith("_")]

    def links(self, name: str) -> Links:
        """Read where tags point and which manifests the repository has; what cannot be read is a fault."""
        faults = Faults()
        manifests = dict.fromkeys(self._revisions(name, faults), "")
        tags: dict[str, Digest] = {}
        for link in self._folder.links(*self._of(name), "tags"):
            faults.add(shown_name(link), LINKED)
        for tag in self._folder.subfolders(*self._of(name), "tags"):
            if not is_tag(tag):
                faults.add(shown_name(tag), "is no name of a tag")
                continue
            try:
                tags[tag] = self._read_link(*self._of(name), "tags", tag, "current", "link")
            except FileNotFoundError:
                faults.add(tag, "has no link")
            except EntrepotError as error:
                faults.add(tag, error.message)
        return Links(tags, manifests, faults)

    def open(self, name: str) -> FolderRepository:
        """Read a repository's manifests; raise RemoteRefused where its folder may not be read."""
        return take_stock(name, self._store, self.links(name))

    def _of(self, name: str) -> tuple[str, ...]:
        return (*self._base, "repositories", *name.split("/"), "_manifests")

    def _revisions(self, name: str, faults: Faults) -> Iterator[Digest]:
        for algorithm in HEX_LENGTH:
            for link in self._folder.links(*self._of(name), "revisions", algorithm):
                faults.add(shown_name(f"{algorithm}:{link}"), LINKED)
            for encoded in self._folder.subfolders(*self._of(name), "revisions", algorithm):
                try:
                    digest = Digest.parse(f"{algorithm}:{encoded}")
                    found = self._read_link(*self._of(name), "revisions", algorithm, encoded, "link")
                except FileNotFoundError:
                    continue  # the manifest was deleted: its folder stays
                except EntrepotError as error:
                    faults.add(shown_name(f"{algorithm}:{encoded}"), error.message)
                    continue
                if found == digest:
                    yield digest
                else:
                    faults.add(digest, f"its link names {found}")

    def _read_link(self, *parts: str) -> Digest:
        """Return the digest that a link file holds; raise FileNotFoundError, and RemoteCorrupt for what holds none."""
        raw = self._folder.read(*parts, limit=_LINK)
        try:
            return Digest.parse(raw.decode("ascii", "replace").strip())
        except DigestInvalid as error:
            raise RemoteCorrupt(f"its link is damaged: {shown_name(error.message)}") from None
