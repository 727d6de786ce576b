"""What damage to blobs comes to: which images of which versions need them, under which tags, and where these are served."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog.blobs.index import BlobIndex
from catalog.distributions.records import Distribution, Distributions
from catalog.lake.connection import Lake
from catalog.lake.reading import listed
from catalog.versions.history import History
from catalog.versions.version_origins import parse_origins, remotes_of
from oci.digest import Digest
from oci.remote.address import Remote

_NAMED, _PARTS = 2_000, 16

Spans = tuple[tuple[int, int | None], ...]
"""First and last versions; None is "up to now"."""


@dataclass(frozen=True, slots=True)
class Impact:
    """A repository whose versions need a blob: in which of them, under which tags it could be pulled, and the paths that serve
    such a version now."""

    digest: Digest
    repository: str
    spans: Spans
    tags: tuple[str, ...]
    paths: tuple[str, ...]

    @property
    def versions(self) -> str:
        """The versions as text: `1-3, 7-`."""
        return ", ".join(
            str(first) if last == first else f"{first}-{'' if last is None else last}" for first, last in self.spans
        )

    def to_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "digest": self.digest,
            "repository": self.repository,
            "versions": self.versions,
            "tags": list(self.tags),
            "paths": list(self.paths),
        }


def find_impacts(
    lake: Lake, history: History, distributions: Distributions, digests: Collection[Digest]
) -> list[Impact]:
    """Return what needs the blobs or manifests named; a query for all, and two for each repository that is hit."""
    impacts: list[Impact] = []
    wanted = sorted(digests)
    for start in range(0, len(wanted), _NAMED):
        rows = lake.read(
            "SELECT repository, digest, version, action FROM changes "
            "WHERE kind <> 'tag' AND digest IN (SELECT unnest(string_split(?, ' '))) ORDER BY repository, digest, version",
            [listed(wanted[start : start + _NAMED])],
        )
        changes: dict[str, dict[Digest, list[tuple[int, str]]]] = defaultdict(lambda: defaultdict(list))
        for repository, digest, version, action in rows:
            changes[str(repository)][Digest(str(digest))].append((int(str(version)), str(action)))
        for name, of_blobs in changes.items():
            impacts += _impacts_of(lake, history, distributions, name, of_blobs)
    return impacts


def _impacts_of(
    lake: Lake,
    history: History,
    distributions: Distributions,
    name: str,
    of_blobs: Mapping[Digest, Sequence[tuple[int, str]]],
) -> Iterator[Impact]:
    children = history.children(name)
    pointing = [
        (str(tag), Digest(str(digest)))
        for tag, digest in lake.read(
            "SELECT DISTINCT tag, digest FROM changes WHERE repository = ? AND kind = 'tag' AND action = 'add'", [name]
        )
    ]
    for digest, changes in of_blobs.items():
        needing = ancestors({digest}, children)
        spans = spans_of(changes)
        yield Impact(
            digest,
            name,
            spans,
            tuple(sorted({tag for tag, target in pointing if target in needing})),
            tuple(one.path for one in distributions.all() if one.repository == name and _serves(one, spans)),
        )


def ancestors(digests: Iterable[Digest], children: Mapping[Digest, Iterable[Digest]]) -> set[Digest]:
    """The digests, and every manifest that is made of one of them."""
    parents: dict[Digest, list[Digest]] = defaultdict(list)
    for parent, parts in children.items():
        for part in parts:
            parents[part].append(parent)
    found, waiting = set[Digest](), list(digests)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += parents[one]
    return found


def spans_of(changes: Iterable[tuple[int, str]]) -> Spans:
    """The versions in which something was, out of (version, action) in order of version."""
    spans: list[tuple[int, int | None]] = []
    for version, action in changes:
        is_in = bool(spans) and spans[-1][1] is None
        if action == "add" and not is_in:
            spans.append((version, None))
        elif action == "remove" and is_in:
            spans[-1] = (spans[-1][0], version - 1)
    return tuple(span for span in spans if span[1] is None or span[1] >= span[0])


def _serves(one: Distribution, spans: Spans) -> bool:
    if one.version is None:
        return bool(spans) and spans[-1][1] is None
    return any(first <= one.version and (last is None or one.version <= last) for first, last in spans)


def find_absent(lake: Lake, blob_index: BlobIndex) -> list[Digest]:
    """Return what versions hold, the store does not, and nothing says where it could be fetched: lost, unless somebody pushes it.

    A pass over all changes for each of 16 parts, so that the memory it takes is bounded.
    """
    absent: list[Digest] = []
    for part in range(_PARTS):
        rows = lake.read(
            "SELECT DISTINCT digest FROM (SELECT DISTINCT repository, digest FROM changes "
            "WHERE kind <> 'tag' AND hash(digest) % ? = ?) ANTI JOIN sources USING (repository, digest)",
            [_PARTS, part],
        )
        named = {Digest(str(digest)) for (digest,) in rows}
        absent += named - blob_index.sizes(named).keys()
    return sorted(absent)


@dataclass(frozen=True, slots=True)
class ContentUse:
    """A repository that uses a blob or, where `media_type` is not empty, a manifest, of `size` bytes; and the upstreams that its
    versions came from, those of the versions that brought it first, then the latest."""

    repository: str
    media_type: str
    size: int
    upstreams: tuple[Remote, ...]


def find_uses(lake: Lake, digest: Digest) -> list[ContentUse]:
    """Return the repositories that use a digest, and where they came from; two queries."""
    rows = lake.read(
        "SELECT repository, max(CASE kind WHEN 'manifest' THEN media_type ELSE '' END), max(size) FROM changes "
        "WHERE kind <> 'tag' AND digest = ? GROUP BY repository ORDER BY repository LIMIT ?",
        [digest, _NAMED],
    )
    origins = lake.read(
        "SELECT repository, origins FROM records LEFT JOIN "
        "(SELECT DISTINCT repository, version, true AS brought FROM changes WHERE digest = ? AND action = 'add') "
        "USING (repository, version) WHERE kind IN ('version', 'squashed') AND origins IS NOT NULL "
        "AND repository IN (SELECT unnest(string_split(?, ' '))) "
        "GROUP BY repository, origins ORDER BY coalesce(bool_or(brought), false) DESC, max(version) DESC",
        [digest, listed(str(name) for name, *_ in rows)],
    )
    upstreams: dict[str, dict[Remote, None]] = defaultdict(dict)
    for name, text in origins:
        upstreams[str(name)].update(dict.fromkeys(remotes_of(parse_origins(text))))
    return [
        ContentUse(str(name), str(kind), int(str(size or 0)), tuple(upstreams[str(name)])) for name, kind, size in rows
    ]
