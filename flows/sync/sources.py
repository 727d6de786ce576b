"""The upstreams of a sync, read as one: a tag is that of the first source that has it.

A sync of a single remote has one source. Why a source that is down stops those after it: docs/adr/0010-blended-remotes.md.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from catalog.filters.tags import Selection
from catalog.remotes.clients import Upstreams
from flows.sync.request import SyncRequest
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteNotFound
from oci.manifest import Manifest
from oci.reference import is_tag
from oci.remote.signatures.repository import SignedRepository
from oci.target import CorruptionAware, Proving, Source


class Upstream(Source, Protocol):
    """A Source that lists the referrers of a manifest."""

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject is `digest`; none where the registry keeps no such list."""
        ...


class Member(NamedTuple):
    """One source: the request for it alone, and its repository."""

    request: SyncRequest
    source: Upstream

    @property
    def name(self) -> str:
        """host/repository."""
        return str(self.request.upstream.repository_only().reference)

    @property
    def listing_may_be_cut(self) -> bool:
        """True where there may be more tags than the last listing has shown."""
        return isinstance(self.source, SignedRepository) and self.source.listing_may_be_cut

    @property
    def remarks(self) -> list[str]:
        """Malformed signatures, and what else failed without being needed, as sentences."""
        if not isinstance(self.source, SignedRepository):
            return []
        malformed = (f"{self.name} has a malformed signature: {text}" for text in self.source.refused)
        return [*malformed, *self.source.remarks]

    def pins(self, tag: str) -> bool:
        """Return whether the digest of a tag is known without asking."""
        return not is_tag(tag) or self._reference_of(tag) != tag

    async def resolve(self, tag: str) -> Descriptor:
        """Ask for the tag, or for the digest that the remote names for it."""
        return await self.source.resolve(self._reference_of(tag))

    def _reference_of(self, tag: str) -> str:
        digest = self.request.reference.digest
        return str(digest) if digest and tag == self.request.pinned else tag


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tags and digests that patterns select.

    `listed` are all tags of the upstream where it was asked for them. `may_lack` are those that were named instead, so that the
    upstream may not have them.
    """

    selection: Selection
    listed: frozenset[str] | None = None
    may_lack: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class JoinedCandidates:
    """The candidates of several sources; `places` gives by tag the numbers of the sources to ask for it, in order."""

    candidates: Candidates
    places: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def join_candidates(each: Sequence[tuple[str, Candidates]]) -> JoinedCandidates:
    """Join the candidates of named sources, in order: the first source wins.

    A tag that an earlier source is known to have is dropped at the later ones, whether it is selected at the earlier or not.
    A source that was not listed is asked for the tag, and the next one when it has none.
    """
    rules: dict[str, str] = {}
    dropped: dict[str, str] = {}
    places: dict[str, list[int]] = {}
    for number, (name, candidates) in enumerate(each):
        for tag, rule in candidates.selection.rules.items():
            winner = next((earlier for earlier, other in each[:number] if _surely_has(other, tag)), None)
            if winner is not None:
                dropped[f"{name}:{tag}"] = f"{winner} comes first and has this tag"
                continue
            rules.setdefault(tag, rule)
            places.setdefault(tag, []).append(number)
    for _name, candidates in each:
        for tag, reason in candidates.selection.dropped.items():
            if tag not in rules:
                dropped.setdefault(tag, reason)
    lists = [candidates.listed for _name, candidates in each]
    listed = None if None in lists else frozenset().union(*(tags for tags in lists if tags is not None))
    may_lack = frozenset(tag for _name, candidates in each for tag in candidates.may_lack if tag in rules)
    joined = Candidates(Selection(rules, dropped), listed, may_lack)
    return JoinedCandidates(joined, {tag: tuple(numbers) for tag, numbers in places.items()})


def _surely_has(candidates: Candidates, tag: str) -> bool:
    if candidates.listed is not None:
        return tag in candidates.listed
    return tag in candidates.selection.rules and tag not in candidates.may_lack


class MultipleSources:
    """Reads one or more sources as one Upstream, and remembers which content came from which. Use it within one event loop."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self._places: dict[str, tuple[int, ...]] = {}
        self._lists: list[frozenset[str] | None] = []
        self._homes: dict[Digest, int] = {}
        self._senders: dict[Digest, Upstream] = {}
        self._referrers: dict[Digest, Sequence[Descriptor]] = {}
        self._tagged: dict[str, int] = {}

    @classmethod
    async def connect(cls, upstreams: Upstreams, request: SyncRequest) -> "MultipleSources":
        """Connect to each remote of a request."""
        return cls([Member(one, await upstreams.signed(one.upstream)) for one in request.each_alone()])

    @property
    def name(self) -> str:
        """The names of all sources."""
        return ", ".join(member.source.name for member in self.members)

    def join(self, each: Sequence[Candidates]) -> Candidates:
        """Join the candidates of the first sources, and ask for tags accordingly from now on.

        The list of a source counts as unknown where it may have been cut.
        """
        joined = join_candidates([(member.name, found) for member, found in zip(self.members, each, strict=False)])
        members = self.members[: len(each)]
        self._places = dict(joined.places)
        self._lists = [
            None if one.listing_may_be_cut else found.listed for one, found in zip(members, each, strict=True)
        ]
        candidates = joined.candidates
        is_complete = all(tags is not None for tags in self._lists)
        return Candidates(candidates.selection, candidates.listed if is_complete else None, candidates.may_lack)

    def home_of(self, digest: Digest) -> Member | None:
        """Return the source that a manifest or blob came from, as far as that is known."""
        number = self._home(digest)
        return None if number is None else self.members[number]

    def name_of(self, tag: str) -> str:
        """Return the name of the source that a tag was found at; empty where there is only one source, or none has it."""
        is_told = len(self.members) > 1 and tag in self._tagged
        return self.members[self._tagged[tag]].name if is_told else ""

    def listed_beside(self, digest: Digest) -> frozenset[str] | None:
        """Return all tags of the source that a manifest came from; None where they are not known."""
        number = self._home(digest)
        return self._lists[number] if number is not None and number < len(self._lists) else None

    def look_beside(self, tag: str, digest: Digest) -> None:
        """Ask for a tag only at the source that a manifest came from."""
        number = self._home(digest)
        if number is not None:
            self._places.setdefault(tag, (number,))

    def inherit(self, digest: Digest, parts: Iterable[Digest]) -> None:
        """Note that parts and referrers of a manifest came from the source of the manifest."""
        number = self._homes.get(digest)
        if number is not None:
            for part in parts:
                self._homes.setdefault(part, number)

    def _home(self, digest: Digest) -> int | None:
        return 0 if len(self.members) == 1 else self._homes.get(digest)

    def _note_home(self, digest: Digest, number: int) -> None:
        if len(self.members) > 1:  # of one source, everything is known to come from it
            self._homes.setdefault(digest, number)

    async def tags(self) -> AsyncIterator[str]:
        """Yield every tag of every source once."""
        seen: set[str] = set()
        for member in self.members:
            async for tag in member.source.tags():
                if tag not in seen:
                    seen.add(tag)
                    yield tag

    async def resolve(self, reference: str) -> Descriptor:
        """Ask the sources that may have a tag, in order, until one has it; a source that fails is not passed over."""
        return await self._resolve(reference, None)

    async def resolve_again(self, tag: str, known: Descriptor) -> Descriptor:
        """Ask once more for a tag that pointed to `known`; a remote that names the digest is not asked."""
        return await self._resolve(tag, known)

    async def _resolve(self, tag: str, known: Descriptor | None) -> Descriptor:
        missing: RemoteNotFound | None = None
        for number in self._places.get(tag, range(len(self.members))):
            member = self.members[number]
            if known is not None and member.pins(tag):
                return known
            try:
                descriptor = await member.resolve(tag)
            except RemoteNotFound as error:
                missing = missing or error
                continue
            self._tagged[tag] = number
            self._note_home(descriptor.digest, number)
            return descriptor
        raise missing or RemoteNotFound(f"none of the remotes has {tag}")

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Read a manifest from its source, or from another one when it is gone there."""
        missing: RemoteNotFound | None = None
        for number in self._order(descriptor.digest):
            try:
                manifest = await self.members[number].source.read_manifest(descriptor)
            except RemoteNotFound as error:
                missing = missing or error
                continue
            self._note_home(manifest.digest, number)
            self.inherit(manifest.digest, (part.digest for _role, part in manifest.children()))
            return manifest
        assert missing is not None
        raise missing

    async def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """Yield a blob from its source, or from another one when it is gone there."""
        missing: RemoteNotFound | None = None
        for number in self._order(descriptor.digest):
            self._senders[descriptor.digest] = self.members[number].source
            try:
                async with aclosing(self.members[number].source.read_blob(descriptor)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        yield chunk
            except RemoteNotFound as error:
                missing = missing or error
                continue
            return
        if missing is not None:
            raise missing

    async def proves(self, digest: Digest, origins: Collection[str]) -> bool:
        """Return whether the source of a blob confirms that it has it, or another source does."""
        for number in self._order(digest):
            source = self.members[number].source
            if isinstance(source, Proving) and await source.proves(digest, origins):
                return True
        return False

    def delivered_by(self, digest: Digest) -> str:
        """Return the registry that sent a blob."""
        source = self._senders.get(digest)
        return source.delivered_by(digest) if isinstance(source, Proving) else ""

    def report_corrupt(self, error: RemoteCorrupt, digest: Digest) -> bool:
        """Report a corrupt blob to its source; return whether that has another place to read it from."""
        source = (self.home_of(digest) or self.members[0]).source
        return isinstance(source, CorruptionAware) and source.report_corrupt(error, digest)

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Return what refers to a manifest at its source; asked once."""
        if digest not in self._referrers:
            home = self.home_of(digest) or self.members[0]
            referrers = await home.source.referrers(digest)
            self.inherit(digest, (one.digest for one in referrers))
            self._referrers[digest] = referrers
        return self._referrers[digest]

    def _order(self, digest: Digest) -> Iterator[int]:
        home = self._home(digest) or 0
        yield home
        yield from (number for number in range(len(self.members)) if number != home)
