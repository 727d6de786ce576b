"""Batches: what one step of a sync works on, and what comes of it. All values are frozen."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from catalog.filters.facts import Facts
from catalog.versions.snapshot import Snapshot
from flows.runs.metering import Meter, StagedManifest
from flows.sync.context import SyncContext
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError

Referrers = Mapping[Digest, Sequence[Descriptor]]
"""The companions to copy with a manifest, by the digest of that manifest."""


@dataclass(frozen=True, slots=True)
class Root:
    """A manifest to copy with all its parts, and the tags (or the digest) that point to it."""

    descriptor: Descriptor
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What has been copied so far: manifests with their parts, and companions by their subjects."""

    staged: Mapping[Digest, StagedManifest] = field(default_factory=dict)
    referrers: Referrers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Tags to resolve, or roots to read or copy, with what is known already.

    `base` is the version that the copy is planned on, `incomplete` are manifests in it that lack parts. `left_out` are children
    that upstream itself lacks. `listed` are all tags of upstream, where they are known.
    """

    tags: Sequence[str] = ()
    roots: Sequence[Root] = ()
    base: Snapshot | None = None
    incomplete: frozenset[Digest] = frozenset()
    listed: frozenset[str] | None = None
    held_facts: Mapping[Digest, Facts] = field(default_factory=dict)
    referrers: Referrers = field(default_factory=dict)
    left_out: frozenset[Digest] = frozenset()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a batch: where its tags point upstream, what was moved for each, and the errors of those that failed.

    `staged`, `facts`, `referrers` and `left_out` hold what the batch has found besides.
    """

    pointing: Mapping[str, Descriptor] = field(default_factory=dict)
    failed: Mapping[str, EntrepotError] = field(default_factory=dict)
    moved: Mapping[str, Meter] = field(default_factory=dict)
    staged: Mapping[Digest, StagedManifest] = field(default_factory=dict)
    facts: Mapping[Digest, Facts] = field(default_factory=dict)
    referrers: Referrers = field(default_factory=dict)
    left_out: frozenset[Digest] = frozenset()

    @property
    def retryable(self) -> bool:
        """True where another try may mend a failure."""
        return any(error.retryable for error in self.failed.values())


BatchStep = Callable[[SyncContext, Batch], Awaitable[Outcome]]
"""Works on one batch: plainly, or as a task that is shown and retried."""


def tag_batches(tags: Sequence[str], size: int) -> Iterator[Batch]:
    """Yield batches of `size` tags to resolve."""
    return (Batch(tags=tags[start : start + size]) for start in range(0, len(tags), size))


def root_batches(tags: Iterable[str], pointing: Mapping[str, Descriptor], size: int) -> Iterator[tuple[Root, ...]]:
    """Yield what tags point to, each digest once, `size` roots at a time."""
    tags_of: dict[Digest, list[str]] = {}
    for tag in tags:
        tags_of.setdefault(pointing[tag].digest, []).append(tag)
    roots = [Root(pointing[tags[0]], tuple(tags)) for tags in tags_of.values()]
    return (tuple(roots[start : start + size]) for start in range(0, len(roots), size))
