"""Packages of an image by name, with their versions, and what differs between those of two images."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.documents.purls import LONGEST_TEXT
from catalog.documents.reading import load_json
from catalog.documents.sboms import open_sbom
from oci.unicode import fit_text

Packages = Mapping[str, frozenset[str]]
"""Name (a package URL without its version where there is one) to the versions of it."""

MOST_NAMES = 50_000
"""Packages of an image that are kept."""

MOST_VERSIONS = 100
"""Versions of a package that are kept."""


@dataclass(frozen=True, slots=True)
class PackageList:
    """What documents list. `is_cut`: a limit has kept some from being kept."""

    packages: Packages
    is_cut: bool = False


@dataclass(slots=True)
class PackageCollector:
    """Collects packages within the limits, their texts made fit for databases and JSON."""

    is_cut: bool = False
    _found: dict[str, set[str]] = field(default_factory=dict)

    def add(self, name: str, version: str) -> None:
        """Add a version of a package, unless there are too many."""
        self.is_cut |= max(len(name), len(version)) > LONGEST_TEXT
        name, version = fit_text(name, LONGEST_TEXT), fit_text(version, LONGEST_TEXT)
        versions = self._found.get(name)
        if versions is None:
            if len(self._found) >= MOST_NAMES:
                self.is_cut = True
                return
            versions = self._found[name] = set()
        if version in versions or len(versions) < MOST_VERSIONS:
            versions.add(version)
        else:
            self.is_cut = True

    def add_list(self, found: PackageList) -> None:
        """Add what another document lists."""
        self.is_cut |= found.is_cut
        for name, versions in found.packages.items():
            for version in sorted(versions):
                self.add(name, version)

    def finish(self) -> PackageList:
        """Return what was collected, by name."""
        return PackageList({name: frozenset(self._found[name]) for name in sorted(self._found)}, self.is_cut)


@dataclass(frozen=True, slots=True)
class PackageDiff:
    """What differs between the packages of two images: name to versions, and of those in both what they were and are."""

    added: Packages = field(default_factory=dict)
    removed: Packages = field(default_factory=dict)
    changed: Mapping[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)


def diff_packages(old: Packages, new: Packages) -> PackageDiff:
    """Compare two lists of packages."""
    return PackageDiff(
        {name: versions for name, versions in new.items() if name not in old},
        {name: versions for name, versions in old.items() if name not in new},
        {name: (old[name], new[name]) for name in sorted(old.keys() & new.keys()) if old[name] != new[name]},
    )


def parse_packages(raw: bytes) -> Packages | None:
    """The packages that a document lists, however it is wrapped; None for one that is no bill of materials."""
    found = packages_in(load_json(raw))
    return None if found is None else found.packages


def packages_in(document: object) -> PackageList | None:
    """The packages of a document that is parsed already."""
    opened = open_sbom(document)
    if opened is None:
        return None
    collector = PackageCollector()
    for one in opened.packages:
        collector.is_cut |= one.is_cut
        collector.add(one.package, one.version)
    return collector.finish()
