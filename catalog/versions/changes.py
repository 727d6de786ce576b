"""The words of a commit: changes, requirements, and the pure rule that turns them into what one version changes."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal

from catalog.blobs.origins import Deferred, Origin
from catalog.versions.needed_blobs import HeldBlob, Offer, find_needed, questionable
from catalog.versions.snapshot import Delta, ManifestEntry, Snapshot
from catalog.versions.version_origins import VersionOrigin
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import Conflict, ManifestBlobUnknown, ManifestUnknown, TagImmutable
from oci.manifest import Manifest
from oci.unicode import fit_text


@dataclass(frozen=True, slots=True)
class SetTag:
    """Point a tag to a manifest that the repository holds or that the same commit adds."""

    tag: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class RemoveTag:
    """Take a tag away; its manifest stays."""

    tag: str


@dataclass(frozen=True, slots=True)
class AddManifest:
    """Take in a manifest whose bytes and blobs are in the content store."""

    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class RemoveManifest:
    """Take a manifest away, with its tags and the blobs that no other manifest of the repository needs."""

    digest: Digest


Change = SetTag | RemoveTag | AddManifest | RemoveManifest


@dataclass(frozen=True, slots=True)
class LatestIs:
    """The repository's latest version must be this one; 0: it has none yet."""

    version: int

    def check(self, latest: Snapshot, _changes: Iterable[Change]) -> None:
        """Raise Conflict when another version is the latest."""
        if latest.version != self.version:
            raise Conflict(
                f"{latest.repository} is at version {latest.version}, but the change was planned on {self.version}"
            )


@dataclass(frozen=True, slots=True)
class TagsStay:
    """Tags that fit one of the patterns (globs) and are there already must neither be moved nor removed."""

    patterns: tuple[str, ...]

    def check(self, latest: Snapshot, changes: Iterable[Change]) -> None:
        """Raise TagImmutable for a change to such a tag."""
        for change in changes:
            for tag in _tags_hit(latest, change):
                pattern = next((one for one in self.patterns if fnmatchcase(tag, one)), None)
                if pattern is not None:
                    raise TagImmutable(
                        f"tag {tag} of {latest.repository} is immutable, since it fits {pattern}; push under another tag"
                    )


def _tags_hit(latest: Snapshot, change: Change) -> Iterable[str]:
    match change:
        case SetTag(tag, digest):
            return () if latest.tags.get(tag, digest) == digest else (tag,)
        case RemoveTag(tag):
            return (tag,) if tag in latest.tags else ()
        case RemoveManifest(digest):
            return [tag for tag, held in latest.tags.items() if held == digest]
        case _:
            return ()


Requirement = LatestIs | TagsStay


def plan_id(base: Snapshot, changes: Iterable[Change]) -> str:
    """Return what a plan is known by: the same for the same changes of the same version of a repository. Pure."""
    lines = sorted(map(repr, changes))
    return str(Digest.of("\n".join([f"{base.repository}@{base.version}", *lines]).encode()))


@dataclass(frozen=True, slots=True)
class Commit:
    """One operation on one repository, which makes one version at most.

    `operation_id` is fixed before the first try; with `resumable`, a version made under it before is returned instead of made
    again. Up to version `checked_until` it is known to have made none. `allow_sparse` lets an index in whose children are not
    all here, `allow_absent` any manifest whose blobs are not: they are no part of the version then; `origin` layers that are
    fetched from there when they are asked for, `origins`, by manifest, those of manifests that came from elsewhere. `donors`
    are repositories here whose blobs the operation may use, since whoever asked for it may read them: versions of any age
    count. `version_origins` are all places that the content comes from; `message` is for people, and nothing reads it.
    `serve` says who may pull the repository from its own path if this is its first version. `founds`
    makes a first version even where it holds nothing.
    """

    repository: str
    operation: str
    changes: tuple[Change, ...]
    operation_id: str
    actor: str
    created_at: datetime
    requirements: tuple[Requirement, ...] = ()
    flow_run_id: str = ""
    message: str = ""
    resumable: bool = False
    checked_until: int = 0
    allow_sparse: bool = False
    allow_absent: bool = False
    origin: Origin | None = None
    origins: Mapping[Digest, Origin] = field(default_factory=dict)
    donors: tuple[str, ...] = ()
    version_origins: tuple[VersionOrigin, ...] = ()
    serve: Literal["public", "private", "nobody"] = "public"
    founds: bool = False


@dataclass(frozen=True, slots=True)
class CommitResult:
    """The version that holds what was asked for; `changed` is False when it was so already."""

    repository: str
    version: int
    changed: bool
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Lookups:
    """What the rule asks of the stores: a manifest by descriptor; which of some blobs are held, and usable for a version's
    repository; what repositories here have of blobs; manifests' children."""

    manifest: Callable[[Descriptor], Manifest]
    held: Callable[[Snapshot, Collection[Digest]], Mapping[Digest, HeldBlob]]
    offered: Callable[[Collection[str], Collection[Digest]], Mapping[Digest, Offer]]
    children: Callable[[str, Iterable[Digest]], Mapping[Digest, tuple[Digest, ...]]]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a commit comes to on its base; `manifests` are those it brings, `deferred` blobs left upstream, `leased` blobs that
    donors have received of those. `held` has what was found of the manifests, their configs, and blobs that were questionable."""

    delta: Delta
    manifests: tuple[Manifest, ...]
    deferred: tuple[Deferred, ...]
    leased: tuple[Digest, ...]
    held: Mapping[Digest, HeldBlob]


def plan_effect(base: Snapshot, commit: Commit, lookups: Lookups) -> Effect:
    """Apply a commit's changes to its base; changes that change nothing drop out. Costs what changes, not what is held.

    Raises Conflict, ManifestUnknown (a tag of a manifest that is not here), ManifestBlobUnknown (missing parts, all named).
    """
    for requirement in commit.requirements:
        requirement.check(base, commit.changes)
    added = {
        change.descriptor.digest: change.descriptor for change in commit.changes if isinstance(change, AddManifest)
    }
    removed = {change.digest for change in commit.changes if isinstance(change, RemoveManifest)} - added.keys()
    removed &= base.manifests.keys()

    def is_present(digest: Digest) -> bool:
        return digest in added or (digest in base.manifests and digest not in removed)

    manifests = tuple(lookups.manifest(found) for digest, found in added.items() if digest not in base.manifests)
    missing = [] if commit.allow_sparse else _children_missing(manifests, is_present)
    looked_at = manifests
    if commit.allow_absent:  # parts that were absent may have come since
        looked_at += tuple(lookups.manifest(found) for digest, found in added.items() if digest in base.manifests)
    asked = {part.digest for one in manifests for part in (one, one.config) if part is not None}
    held = lookups.held(base, asked | questionable(base, looked_at))
    for manifest in manifests:  # memory may have the bytes of one that is not held any longer
        if manifest.digest not in held:
            raise ManifestUnknown(f"manifest {manifest.digest} is not held here")
    parts = find_needed(
        base,
        looked_at,
        origin_of=lambda digest: commit.origins.get(digest, commit.origin),
        held=held,
        offered=lookups.offered,
        donors=commit.donors,
    )
    missing += [] if commit.allow_absent else parts.absent
    if missing:
        raise ManifestBlobUnknown(
            f"{base.repository} does not hold {len(missing)} part(s) of the manifest: {', '.join(missing[:5])}",
            detail={"missing": missing},
        )
    touched = _tags_touched(base, commit.changes, removed, is_present)
    delta = Delta(
        tags_added={tag: digest for tag, digest in touched.items() if digest and base.tags.get(tag) != digest},
        tags_removed={tag: base.tags[tag] for tag, digest in touched.items() if base.tags.get(tag, digest) != digest},
        manifests_added={manifest.digest: entry_of(manifest) for manifest in manifests},
        manifests_removed={digest: base.manifests[digest] for digest in removed},
        blobs_added={digest: size for digest, size in parts.needed.items() if digest not in base.blobs},
        blobs_removed=_blobs_freed(base, removed, parts.needed, lookups) if removed else {},
        deferred=parts.claims,
    )
    return Effect(delta, manifests, tuple(parts.deferred), tuple(parts.leased), held)


def entry_of(manifest: Manifest) -> ManifestEntry:
    """Return what a snapshot keeps of a manifest; the artifact type falls back to the config's media type (spec, referrers)."""
    artifact_type = manifest.artifact_type
    if not artifact_type and manifest.config:
        artifact_type = manifest.config.media_type
    return ManifestEntry(
        manifest.media_type,
        manifest.size,
        fit_text(artifact_type),
        manifest.subject.digest if manifest.subject else None,
    )


def _tags_touched(
    base: Snapshot, changes: Iterable[Change], removed: set[Digest], is_present: Callable[[Digest], bool]
) -> dict[str, Digest | None]:
    """The tags that the changes are about, with what each points to in the end, None for nothing."""
    touched: dict[str, Digest | None] = {}
    if removed:
        touched = {tag: None for tag, digest in base.tags.items() if digest in removed}
    for change in changes:
        if isinstance(change, RemoveTag):
            touched[change.tag] = None
        elif isinstance(change, SetTag):
            if not is_present(change.digest):
                raise ManifestUnknown(f"tag {change.tag!r}: manifest {change.digest} is not in {base.repository}")
            touched[change.tag] = change.digest
    return touched


def _children_missing(manifests: Iterable[Manifest], is_present: Callable[[Digest], bool]) -> list[str]:
    return [
        child.digest
        for manifest in manifests
        for _role, child in manifest.children()
        if child.media_type in mediatypes.MANIFESTS and not is_present(child.digest)
    ]


def _blobs_freed(
    base: Snapshot, gone: set[Digest], kept_too: Mapping[Digest, int], lookups: Lookups
) -> dict[Digest, int]:
    children = lookups.children(base.repository, base.manifests)
    still: set[Digest] = set(kept_too)
    for digest in base.manifests.keys() - gone:
        still.update(children.get(digest, ()))
    candidates = {child for digest in gone for child in children.get(digest, ())}
    return {digest: base.blobs[digest] for digest in candidates - still if digest in base.blobs}
