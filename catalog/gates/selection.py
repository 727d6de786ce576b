"""Which digest each tag of a version resolves to, once gates have refused some: the newest that passes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.gates.repository_facts import RepositoryFacts
from catalog.gates.verdicts import Refusal
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest


@dataclass(frozen=True, slots=True)
class TagSelection:
    """Tags that stay as they are, and those that do not.

    `earlier` are what such a tag pointed to before and may step back to, the newest first, each with a version that has it;
    `refused` say why what it points to is refused.
    """

    kept: Mapping[str, Digest] = field(default_factory=dict)
    earlier: Mapping[str, tuple[tuple[Digest, int], ...]] = field(default_factory=dict)
    refused: Mapping[str, tuple[Digest, Refusal]] = field(default_factory=dict)


def select_passing_tags(snapshot: Snapshot, facts: RepositoryFacts, refused: Mapping[Digest, Refusal]) -> TagSelection:
    """Return what the tags of a version resolve to where manifests are refused."""
    kept: dict[str, Digest] = {}
    earlier: dict[str, tuple[tuple[Digest, int], ...]] = {}
    refusals: dict[str, tuple[Digest, Refusal]] = {}
    for tag, digest in snapshot.tags.items():
        refusal = refused.get(digest)
        if refusal is None:
            kept[tag] = digest
            continue
        refusals[tag] = digest, refusal
        if refusal.steps_back:
            places = facts.places(tag, snapshot.version)
            earlier[tag] = tuple((before, number) for before, number in places if before not in refused)
    return TagSelection(kept, earlier, refusals)
