"""What a watch sees of one upstream repository, and what it knew before: values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from catalog.filters.tags import TagFilter
from oci.digest import Digest

ChangeKind = Literal["new", "moved", "vanished", "returned", "signature-lost", "signer-changed"]
CHANGE_KINDS: tuple[ChangeKind, ...] = ("new", "moved", "vanished", "returned", "signature-lost", "signer-changed")
Severity = Literal["info", "warning"]
Channel = Literal["tag", "referrers", "fallback"]
"""Where a signature was found: by cosign's tag, by the referrers API, or by the fallback tag of that API."""


@dataclass(frozen=True, slots=True)
class SeenSignature:
    """A signature's claim, which nobody has verified: who says to have signed, and where it was found."""

    signer: str
    channel: Channel


Signatures = Mapping[Digest, SeenSignature]
"""Signatures of one manifest, by their own digests."""


@dataclass(frozen=True, slots=True)
class SeenTag:
    """A tag that upstream has. `signatures` is None where they were not asked for, or could not be read in full."""

    digest: Digest
    signatures: Signatures | None = None


@dataclass(frozen=True, slots=True)
class TagGone:
    """A tag that upstream has denied to have: a proven 404, never a failure."""


Sighting = SeenTag | TagGone


@dataclass(frozen=True, slots=True)
class Sightings:
    """What one watch has seen: `tags` that were answered, and why the others of them are `unknown`.

    `is_complete`: all tags that the filter selects were looked at, so that a tag which comes later is new.
    """

    tags: Mapping[str, Sighting] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    is_complete: bool = False


@dataclass(frozen=True, slots=True)
class WatchedTag:
    """A tag as it is remembered. Without a digest it is known to exist and was never read.

    `last_seen` is None for a tag that the last watch of its remote has seen. `signatures` is None until they were asked for.
    """

    tag: str
    digest: Digest | None
    first_seen: datetime
    last_seen: datetime | None = None
    vanished_at: datetime | None = None
    moved_from: Digest | None = None
    moved_at: datetime | None = None
    moves: int = 0
    signatures: Signatures | None = None

    @property
    def facts(self) -> tuple[object, ...]:
        """Return what another watch must not have changed meanwhile."""
        return self.digest, self.vanished_at, self.moves, self.signatures


@dataclass(frozen=True, slots=True)
class WatchedRemote:
    """What is remembered of an upstream repository; `covered` are the filters of watches that have looked at all they select."""

    remote: str
    tags: Mapping[str, WatchedTag] = field(default_factory=dict)
    covered: Sequence[TagFilter] = ()
    first_watched: datetime | None = None
    watched_at: datetime | None = None

    def covers(self, tag: str) -> bool:
        """Return whether an earlier watch would have seen the tag if it had been there."""
        return any(tag in one.match([tag]).rules for one in self.covered)


@dataclass(frozen=True, slots=True)
class UpstreamChange:
    """One thing that changed upstream; `signers` before and after are claims. `severity` is warning for what must not change."""

    kind: ChangeKind
    tag: str
    digest: Digest | None
    previous: Digest | None = None
    severity: Severity = "info"
    signers_before: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()

    @property
    def action(self) -> str:
        """Return the action of the audit event; a tag that must not move has one of its own."""
        if self.kind == "moved" and self.severity == "warning":
            return "watch-immutable-moved"
        return ACTIONS[self.kind]


ACTIONS: Mapping[ChangeKind, str] = {
    "new": "watch-tag-new",
    "moved": "watch-tag-moved",
    "vanished": "watch-tag-vanished",
    "returned": "watch-tag-returned",
    "signature-lost": "watch-signature-lost",
    "signer-changed": "watch-signer-changed",
}


def signers_of(signatures: Signatures | None) -> tuple[str, ...]:
    """Return who claims to have signed, each once, in order of their names."""
    return tuple(sorted({one.signer for one in (signatures or {}).values()}))
