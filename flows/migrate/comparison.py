"""The end of a migration: the tags and digests of the source, compared with what the catalogue serves."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from catalog.catalog import Catalog
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest

MAX_NAMED_DIFFERENCES = 1000
"""Differences of one repository that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A tag or digest of the source that is not served alike; None: nothing is served under it."""

    name: str
    source: Digest
    here: Digest | None

    def __str__(self) -> str:
        return f"{self.name} is {self.source} at the source and {self.here or 'missing'} here"


@dataclass(frozen=True, slots=True)
class Compared:
    """What was compared of one repository: how many tags and digests, those that differ, and how many tags only this side has."""

    count: int = 0
    differences: tuple[Difference, ...] = ()
    different: int = 0
    only_here: int = 0


def compare_served(
    catalog: Catalog,
    path: str,
    tags: Mapping[str, Digest],
    digests: Collection[Digest] = (),
    *,
    skipped: Collection[str] = (),
) -> Compared:
    """Compare a source's tags and digests with what a path serves; those that were `skipped` are left out."""
    served = catalog.serving.find(path) or Snapshot(path, 0)
    wanted = {tag: digest for tag, digest in tags.items() if tag not in skipped}
    by_digest = [digest for digest in digests if digest not in skipped]
    found = [
        Difference(tag, digest, served.tags.get(tag))
        for tag, digest in wanted.items()
        if served.tags.get(tag) != digest
    ]
    found += [Difference(digest, digest, None) for digest in by_digest if digest not in served.manifests]
    return Compared(
        count=len(wanted) + len(by_digest),
        differences=tuple(found[:MAX_NAMED_DIFFERENCES]),
        different=len(found),
        only_here=len(served.tags.keys() - tags.keys()),
    )
