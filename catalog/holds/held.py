"""What holds keep back now: the content of each path that a rule or a block is about."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from catalog.distributions.records import Distribution, Distributions
from catalog.gates.facts_reader import RepositoryFactsReader
from catalog.holds.records import Holds
from catalog.path_patterns import matches
from catalog.versions.snapshot_cache import Snapshots
from oci.digest import Digest


@dataclass(frozen=True, slots=True)
class HeldContent:
    """A manifest that a path does not serve now, the tags that point to it, why, and until when; None: not by itself."""

    path: str
    digest: Digest
    tags: tuple[str, ...]
    reason: str
    until: datetime | None


def held_content(
    holds: Holds,
    snapshots: Snapshots,
    distributions: Distributions,
    facts: RepositoryFactsReader,
    now: datetime,
    *,
    pattern: str = "**",
) -> Iterator[HeldContent]:
    """Yield what is held at the paths that fit a pattern; parts of an index that is held go with it."""
    snapshots.names()  # reads what others have committed
    for served in distributions.all():
        if not served.remote and matches(pattern, served.path) and holds.covers(served.path, served.repository):
            yield from _held_at(holds, snapshots, served, facts, now)


def _held_at(
    holds: Holds, snapshots: Snapshots, served: Distribution, facts: RepositoryFactsReader, now: datetime
) -> Iterator[HeldContent]:
    snapshot = snapshots.find_at(served.path)
    if snapshot is None:
        return
    known = facts.read(snapshot.repository, snapshot.version, drops=snapshots.drops)
    refused = holds.judge_fully(served.path, snapshot, known, now).refused
    tags: dict[Digest, list[str]] = {}
    for tag, digest in snapshot.tags.items():
        tags.setdefault(digest, []).append(tag)
    for digest in sorted(refused.keys() & snapshot.manifests.keys(), key=lambda one: (tags.get(one, ["~"]), one)):
        is_part = any(parent in refused and parent in snapshot.manifests for parent in known.parents.get(digest, ()))
        if digest in tags or not is_part:
            found = refused[digest]
            yield HeldContent(served.path, digest, tuple(sorted(tags.get(digest, ()))), found.reason, found.until)
