"""Writing versions into a bundle; each blob once, however many versions hold it, and verified while it is read."""

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from catalog.blobs.local_store import BlobReader
from catalog.bundles.files import create_bundle, in_memory
from catalog.bundles.format import DOCUMENT, BundledVersion, Contents, blob_path, render_contents, render_index
from catalog.bundles.trust import judge_export
from catalog.catalog import Catalog
from catalog.content.curation import curate_version
from catalog.filters.filter import Filter
from catalog.filters.platforms import PlatformFilter
from catalog.policy_gates.operations import JudgedContent
from catalog.units import format_time
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest, new_hasher
from oci.errors import InvalidInput, StorageCorrupt
from oci.reference import is_tag


@dataclass(frozen=True, slots=True)
class ExportedVersion:
    """A version to export: by default the latest; what version `since` holds is left out.

    With a filter or platforms, only what they choose of it, and of `since` what they choose of that.
    """

    repository: str
    version: int | None = None
    since: int = 0
    filter: Filter = field(default_factory=Filter)
    platforms: PlatformFilter = field(default_factory=PlatformFilter)

    @property
    def is_whole(self) -> bool:
        """Return whether all of the version is wanted."""
        return self.filter == Filter() and not self.platforms.wanted


@dataclass(frozen=True, slots=True)
class Export:
    """What a bundle will hold, and by which rule each `NAME:TAG` is kept or dropped.

    `judged` has what trust policies say of each repository; what they refuse is in `dropped` too.
    """

    contents: Contents
    kept: Mapping[str, str]
    dropped: Mapping[str, str]
    judged: Mapping[str, JudgedContent] = field(default_factory=dict)

    @property
    def refused(self) -> Mapping[str, str]:
        """Return the reason by `NAME:TAG`, or digest, of what policies refuse."""
        return refused_names(self.judged)


def plan_export(catalog: Catalog, wanted: Iterable[ExportedVersion], *, now: datetime, signed_by: str = "") -> Export:
    """Choose what a bundle holds. A repository of which filters choose nothing, or policies let nothing pass, is left out.

    `signed_by` is a policy to ask besides the gates. Raises NameUnknown, VersionUnknown, PolicyUnknown, or InvalidInput for a
    repository named twice or one that lacks blobs.
    """
    versions: list[BundledVersion] = []
    blobs: dict[Digest, int] = {}
    kept: dict[str, str] = {}
    dropped: dict[str, str] = {}
    seen: set[str] = set()
    verdicts: dict[str, JudgedContent] = {}
    for one in wanted:
        if one.repository in seen:
            raise InvalidInput(f"{one.repository} is named twice; a bundle holds one version of each repository")
        seen.add(one.repository)
        chosen = _choose(catalog, one, one.version, now)
        kept |= chosen.kept
        dropped |= chosen.dropped
        passing, judged = judge_export(catalog, chosen.source, chosen.snapshot, policy=signed_by, now=now)
        verdicts[one.repository] = judged
        snapshot = _with_blobs(catalog, chosen.source, passing) if judged.refused else passing
        gone = chosen.snapshot.tags.keys() - passing.tags.keys() - judged.refused.keys()
        dropped |= {f"{one.repository}:{tag}": "it belongs to what a trust policy refuses" for tag in gone}
        if not snapshot.manifests and (judged.refused or not one.is_whole):
            continue
        versions.append(BundledVersion(one.repository, snapshot.version, one.since, snapshot.tags, snapshot.manifests))
        blobs |= _new_blobs(catalog, snapshot, _choose(catalog, one, one.since, now).snapshot)
    refused = refused_names(verdicts)
    kept = {name: rule for name, rule in kept.items() if name not in refused and name not in dropped}
    return Export(Contents(tuple(versions), blobs, format_time(now)), kept, {**dropped, **refused}, verdicts)


def refused_names(judged: Mapping[str, JudgedContent]) -> dict[str, str]:
    """Return the reasons of what is refused by `NAME:TAG`, or `NAME@DIGEST`, of judgements by repository. Pure."""
    return {
        f"{repository}{':' if is_tag(name) else '@'}{name}": reason
        for repository, one in judged.items()
        for name, reason in one.refused.items()
    }


@dataclass(frozen=True, slots=True)
class _Chosen:
    source: Snapshot
    snapshot: Snapshot
    kept: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)


def _choose(catalog: Catalog, wanted: ExportedVersion, version: int | None, now: datetime) -> _Chosen:
    """Return what is wanted of a version, as if it were all that there is."""
    source = catalog.snapshots.get(wanted.repository, version)
    if wanted.is_whole:
        kept = {f"{wanted.repository}:{tag}": "every tag is included" for tag in source.sorted_tags}
        return _Chosen(source, source, kept)
    chosen = curate_version(catalog, source, wanted.filter, wanted.platforms, now=now)
    part = replace(source, tags=chosen.tags, manifests=chosen.manifests)
    return _Chosen(source, _with_blobs(catalog, source, part), chosen.kept, chosen.dropped)


def _with_blobs(catalog: Catalog, source: Snapshot, part: Snapshot) -> Snapshot:
    """Return a part of a version with those blobs that its manifests name."""
    parts = catalog.history.children(source.repository, part.manifests) if part.manifests else {}
    blobs = {one: source.blobs[one] for some in parts.values() for one in some if one in source.blobs}
    return replace(part, blobs=blobs)


def _new_blobs(catalog: Catalog, snapshot: Snapshot, base: Snapshot) -> dict[Digest, int]:
    usable = {one: catalog.rights.usable_size(snapshot, one) for one in snapshot.blobs if one not in base.blobs}
    added = {digest: size for digest, size in usable.items() if size is not None}
    if left := usable.keys() - added.keys():
        raise InvalidInput(
            f"{len(left)} blob(s) of {snapshot.repository} version {snapshot.version} were left upstream and are not here: "
            "sync it with --policy immediate first"
        )
    manifests = {digest: entry.size for digest, entry in snapshot.manifests.items() if digest not in base.manifests}
    return manifests | added


def write_bundle(catalog: Catalog, contents: Contents, path: Path, on_bytes: Callable[[int], None]) -> None:
    """Write the bundle; `on_bytes` is told of bytes as they are read. Raises StorageCorrupt for a blob that is damaged here."""
    document, index = render_contents(contents), render_index(contents.versions, contents.blobs)
    with create_bundle(path) as bundle:
        for name, data in (
            (DOCUMENT, document),
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            ("index.json", index),
        ):
            bundle.add(name, len(data), in_memory(data))
        for digest in sorted(contents.blobs):
            with catalog.content.open(digest) as reader:
                source = _Verified(digest, reader, on_bytes)
                bundle.add(blob_path(digest), reader.size, io.BufferedReader(source, 1024 * 1024))
                source.check()


class _Verified(io.RawIOBase):
    """A blob as a file, hashed as it is read."""

    def __init__(self, digest: Digest, reader: BlobReader, on_bytes: Callable[[int], None]) -> None:
        self._digest, self._reader, self._on_bytes = digest, reader, on_bytes
        self._hasher, self._offset = new_hasher(digest.algorithm), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # what BufferedReader hands over
        data = self._reader.read_at(self._offset, len(buffer))
        buffer[: len(data)] = data
        self._hasher.update(data)
        self._offset += len(data)
        self._on_bytes(len(data))
        return len(data)

    def check(self) -> None:
        """Raise StorageCorrupt where what was read is not the blob."""
        found = Digest.from_hasher(self._digest.algorithm, self._hasher)
        if found != self._digest:
            raise StorageCorrupt(
                f"blob {self._digest} is damaged in the store: its bytes are {found}; no bundle was made"
            )
