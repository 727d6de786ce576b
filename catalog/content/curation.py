"""Curating: a set of tags and digests chosen from repositories, with all that belongs to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from catalog.catalog import Catalog
from catalog.content.selection import select_content
from catalog.filters.companions import CompanionFilter
from catalog.filters.filter import Filter
from catalog.filters.platforms import PlatformFilter
from catalog.filters.selector import Selector
from catalog.filters.tags import Selection
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import Conflict, ManifestUnknown
from oci.reference import is_tag


@dataclass(slots=True)
class Curation:
    """What was chosen: tags, and every manifest that comes with them.

    `kept` has for each source (`NAME:TAG` or `NAME@DIGEST`) that was chosen the rule, `dropped` for each one left out the reason,
    `versions` by repository the version that was chosen from.
    """

    tags: dict[str, Digest] = field(default_factory=dict)
    manifests: dict[Digest, ManifestEntry] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    _from: dict[str, str] = field(default_factory=dict)

    def as_snapshot(self, repository: str) -> Snapshot:
        """The state that the new version should have."""
        return Snapshot(repository, 0, self.tags, self.manifests)

    def set_tag(self, tag: str, digest: Digest, repository: str) -> None:
        """Choose a tag; raise Conflict when another repository's tag of that name points elsewhere."""
        if self.tags.get(tag, digest) != digest:
            raise Conflict(
                f"tag {tag!r} is chosen from {self._from[tag]} and from {repository}, and points to different manifests; "
                f"exclude one, or name it by digest: {repository}:OTHER-TAG@{digest}"
            )
        self.tags[tag] = digest
        self._from[tag] = repository


def curate(
    catalog: Catalog,
    selectors: Iterable[Selector],
    *,
    now: datetime,
    wanted: Filter | None = None,
    platforms: PlatformFilter | None = None,
    versions: Mapping[str, int] | None = None,
) -> Curation:
    """Collect what the selectors name in their repositories, recursively; in the latest versions where `versions` names no other.

    With a tag come its manifest, the children of an index, what refers to any of these, and cosign's tags for them. The filter
    applies to selectors of whole repositories. Raises NameUnknown, ManifestUnknown, Conflict.
    """
    chosen = Curation()
    by_repository: dict[str, list[Selector]] = {}
    for selector in selectors:
        by_repository.setdefault(selector.repository, []).append(selector)
    for repository, some in by_repository.items():
        source = catalog.snapshots.get(repository, (versions or {}).get(repository))
        chosen.versions[repository] = source.version
        roots: list[Digest] = []
        for selector in some:
            if selector.tag or selector.digest:
                roots.append(_select_one(chosen, source, selector))
            else:
                roots += _select_some(
                    chosen, source, select_content(catalog, source, selector.wanted or wanted or Filter(), now)
                )
        collect_parts(catalog, source, roots, chosen, platforms or PlatformFilter())
    return chosen


def curate_version(
    catalog: Catalog, source: Snapshot, wanted: Filter, platforms: PlatformFilter, *, now: datetime
) -> Curation:
    """Collect what a filter chooses of one version, recursively."""
    chosen = Curation()
    roots = _select_some(chosen, source, select_content(catalog, source, wanted, now))
    collect_parts(catalog, source, roots, chosen, platforms)
    return chosen


def _select_some(chosen: Curation, source: Snapshot, selection: Selection) -> list[Digest]:
    repository = source.repository
    chosen.kept |= {_named(repository, one): rule for one, rule in selection.rules.items()}
    chosen.dropped |= {_named(repository, one): reason for one, reason in selection.dropped.items()}
    roots: list[Digest] = []
    for one in selection.kept:
        if one in source.tags:
            chosen.set_tag(one, source.tags[one], repository)
        roots.append(source.tags.get(one) or Digest(one))
    return roots


def _named(repository: str, one: str) -> str:
    return f"{repository}{':' if is_tag(one) else '@'}{one}"


def _select_one(chosen: Curation, source: Snapshot, selector: Selector) -> Digest:
    digest = selector.digest or source.tags.get(selector.tag)
    if digest is None or digest not in source.manifests:
        near = ", ".join(source.sorted_tags[:5]) or "none"
        raise ManifestUnknown(
            f"{selector} is not in version {source.version} of {selector.repository}; it has the tags {near}"
        )
    chosen.kept[str(selector)] = "named"
    if selector.tag:
        chosen.set_tag(selector.tag, digest, selector.repository)
    return digest


def collect_parts(
    catalog: Catalog, source: Snapshot, roots: Sequence[Digest], chosen: Curation, platforms: PlatformFilter
) -> None:
    """Add the manifests that `roots` are made of, and their companions."""
    if roots:
        _Collector(catalog, source, platforms).collect(roots, chosen)


class _Collector:
    """Walks one version of one repository."""

    def __init__(self, catalog: Catalog, source: Snapshot, platforms: PlatformFilter) -> None:
        self._catalog, self._source, self._platforms = catalog, source, platforms
        self._children = catalog.history.children(source.repository)

    def collect(self, roots: Iterable[Digest], chosen: Curation) -> None:
        """Add the manifests that `roots` are made of, and their companions."""
        waiting, source = list(roots), self._source
        while waiting:
            digest = waiting.pop()
            entry = source.manifests.get(digest)
            if entry is None or digest in chosen.manifests:
                continue
            chosen.manifests[digest] = entry
            waiting += [*self._parts(digest, entry), *source.referrers.get(digest, ())]
            for tag in CompanionFilter().tags_of(digest):
                if tag in source.tags:
                    chosen.set_tag(tag, source.tags[tag], source.repository)
                    name = f"{source.repository}:{tag}"
                    chosen.kept.setdefault(name, f"belongs to {digest}")
                    chosen.dropped.pop(name, None)
                    waiting.append(source.tags[tag])

    def _parts(self, digest: Digest, entry: ManifestEntry) -> Sequence[Digest]:
        if entry.media_type in mediatypes.INDEXES and self._platforms.wanted:
            manifest = self._catalog.manifests.read(digest, entry.media_type)
            return [child.digest for _role, child in self._platforms.children_of_some(manifest)]
        return self._children.get(digest, ())
