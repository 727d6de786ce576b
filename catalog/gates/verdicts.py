"""Verdicts: what a gate says of the manifests of one repository, for the clients of one path."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from catalog.gates.repository_facts import RepositoryFacts
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a manifest may not be pulled: `reason` follows its digest in a sentence. It ends at `until`; None: not by itself.

    `steps_back`: a tag that points to it resolves to the newest manifest it had before that may be pulled.
    """

    reason: str
    until: datetime | None = None
    steps_back: bool = False


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Which manifests are refused, and the warnings of others.

    Time alone changes them at `until`, not before; None: never.
    """

    refused: Mapping[Digest, Refusal] = field(default_factory=dict)
    warnings: Mapping[Digest, tuple[str, ...]] = field(default_factory=dict)
    until: datetime | None = None


class ContentGate(Protocol):
    """One kind of rules about pulls. Its records are in memory, and known as soon as distributions are."""

    @property
    def active(self) -> bool:
        """Return whether there is any rule; no I/O."""

    @property
    def changes(self) -> int:
        """Return another number as soon as a rule is another one; no I/O."""

    def covers(self, path: str, repository: str) -> bool:
        """Return whether a rule is about what a path serves of a repository; no I/O."""

    def judge(self, path: str, snapshot: Snapshot, facts: RepositoryFacts, now: datetime) -> Verdicts:
        """Return the verdicts on what a path serves; may read the catalogue."""


def join_verdicts(found: Iterable[Verdicts]) -> Verdicts:
    """Return the verdicts of several gates as one: what any refuses is refused, and the first that ends says when to ask again.

    A refusal that does not step back counts more than one that does.
    """
    refused: dict[Digest, Refusal] = {}
    warnings: dict[Digest, tuple[str, ...]] = {}
    ends: list[datetime] = []
    for one in found:
        for digest, refusal in one.refused.items():
            if digest not in refused or not refusal.steps_back:
                refused[digest] = refusal
        for digest, texts in one.warnings.items():
            warnings[digest] = warnings.get(digest, ()) + texts
        if one.until is not None:
            ends.append(one.until)
    return Verdicts(refused, warnings, min(ends, default=None))
