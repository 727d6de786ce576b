"""Facts of a repository that gates judge by: when its manifests came, what they hold, and what its tags have pointed to."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from oci.digest import Digest
from oci.kinds import is_image_config, is_statement


@dataclass(frozen=True, slots=True)
class ManifestFacts:
    """When a manifest was first seen in the repository, what its image says about its creation, and what it holds.

    `parts` are the manifests that an index names. `is_companion`: by its types it holds statements about other content, and
    nothing to run; with `has_image_config` some clients unpack its layers all the same, so that their bytes are to be looked at.
    """

    first_seen: datetime
    created: str = ""
    parts: tuple[Digest, ...] = ()
    is_companion: bool = False
    has_image_config: bool = False


@dataclass(frozen=True, slots=True)
class ChildRow:
    """What a manifest names, as its row has it."""

    role: str
    media_type: str
    digest: str


@dataclass(frozen=True, slots=True)
class TagPlace:
    """A tag pointed to a digest from the version `first` on, and no longer in version `end`; None: it still does."""

    digest: Digest
    first: int
    end: int | None = None


@dataclass(frozen=True)
class RepositoryFacts:
    """The facts up to a version. `numbers` are the versions that exist, in order."""

    repository: str
    version: int = 0
    manifests: Mapping[Digest, ManifestFacts] = field(default_factory=dict, repr=False)
    tags: Mapping[str, Sequence[TagPlace]] = field(default_factory=dict, repr=False)
    numbers: Sequence[int] = field(default=(), repr=False)

    @cached_property
    def parents(self) -> Mapping[Digest, tuple[Digest, ...]]:
        """Return by manifest the indexes that name it."""
        found: dict[Digest, tuple[Digest, ...]] = {}
        for digest, facts in self.manifests.items():
            for part in facts.parts:
                found[part] = (*found.get(part, ()), digest)
        return found

    def places(self, tag: str, version: int) -> Iterator[tuple[Digest, int]]:
        """Yield what a tag has pointed to up to a version, the newest first.

        Each has the last existing version in which it did.
        """
        for place in reversed(self.tags.get(tag, ())):
            last = version if place.end is None or place.end > version else place.end - 1
            position = bisect_right(self.numbers, last)
            if position and self.numbers[position - 1] >= place.first:
                yield place.digest, self.numbers[position - 1]


Row = tuple[object, ...]


def add_rows(facts: RepositoryFacts, version: int, rows: Iterable[Row]) -> RepositoryFacts:
    """Return the facts up to a later version, with the rows of table `records` since then, in the order of versions. Pure.

    The columns are those of `catalog.gates.facts_reader`.
    """
    rows = list(rows)
    made = {int(str(row[1])): _time(row[4]) for row in rows if row[0] in ("version", "squashed") and row[4] is not None}
    numbers = [*facts.numbers, *sorted(int(str(row[1])) for row in rows if row[0] == "version")]
    manifests, tags = dict(facts.manifests), dict(facts.tags)
    for kind, number_text, action, tag, created_at, digest_text, created, children in rows:
        number = int(str(number_text))
        if kind == "tag":
            tags[str(tag)] = _moved(tags.get(str(tag), ()), number, str(action), Digest(digest_text))
        elif kind == "manifest" and action == "add":
            digest = Digest(digest_text)
            seen = _time(created_at) if created_at is not None else made[number]
            known = manifests.get(digest)
            manifests[digest] = _manifest(min(seen, known.first_seen) if known else seen, created, children)
    return RepositoryFacts(facts.repository, version, manifests, tags, numbers)


def _moved(places: Sequence[TagPlace], number: int, action: str, digest: Digest) -> Sequence[TagPlace]:
    """Return what a tag has pointed to once a version sets it or takes it away; a version that moves it does both."""
    if places and places[-1].end is None:
        places = (*places[:-1], TagPlace(places[-1].digest, places[-1].first, number))
    return (*places, TagPlace(digest, number)) if action == "add" else places


def _manifest(first_seen: datetime, created: object, rows: object) -> ManifestFacts:
    """Return the facts of a manifest with the rows of its children. Blanks in a config's type hide no image."""
    children = [ChildRow(**row) for row in (rows if isinstance(rows, list) else ())]
    indexed = tuple(dict.fromkeys(Digest(child.digest) for child in children if child.role == "manifest"))
    layers = [child.media_type for child in children if child.role == "layer"]
    is_companion = bool(layers) and not indexed and all(map(is_statement, layers))
    configs = [child.media_type.replace(" ", "") for child in children if child.role == "config"]
    return ManifestFacts(first_seen, str(created or ""), indexed, is_companion, any(map(is_image_config, configs)))


def _time(value: object) -> datetime:
    assert isinstance(value, datetime)
    return value.astimezone(UTC)
