"""Several remotes blended into one repository: a tag is that of the first remote that has it.

Why a remote that is down stops those after it: docs/adr/0010-blended-remotes.md.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

from catalog.filters.tags import Selection
from catalog.remotes.clients import Upstreams
from flows.sync.job import SyncJob
from flows.sync.request import SyncRequest, asked_for
from flows.sync.tag_selection import Choice
from flows.sync.upstream_reader import Upstream
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteNotFound
from oci.manifest import Manifest
from oci.target import Blamable, Proving


class Member(NamedTuple):
    """One of the remotes, by a request for it alone, and its repository."""

    request: SyncRequest
    source: Upstream

    @property
    def name(self) -> str:
        """host/repository."""
        return str(self.request.upstream.repository_only().reference)


@dataclass(frozen=True, slots=True)
class Blending:
    """What is taken of several remotes: `places` gives by tag the numbers of the remotes to ask for it, in order."""

    choice: Choice
    places: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def blend(choices: Sequence[tuple[str, Choice]]) -> Blending:
    """Put together what is chosen of each remote, the first of them first.

    A tag that an earlier remote is known to have is shadowed, whether that remote's is selected or not. Where a remote was not
    asked for its list, it is asked for the tag, and the next one when it has none.
    """
    rules: dict[str, str] = {}
    dropped: dict[str, str] = {}
    places: dict[str, list[int]] = {}
    for number, (name, choice) in enumerate(choices):
        for tag, rule in choice.selection.rules.items():
            by = next((earlier for earlier, other in choices[:number] if _surely_has(other, tag)), None)
            if by is not None:
                dropped[f"{name}:{tag}"] = f"shadowed by {by}"
                continue
            rules.setdefault(tag, rule)
            places.setdefault(tag, []).append(number)
    for _name, choice in choices:
        for tag, reason in choice.selection.dropped.items():
            if tag not in rules:
                dropped.setdefault(tag, reason)
    lists = [choice.listed for _name, choice in choices]
    listed = None if None in lists else frozenset().union(*(one for one in lists if one is not None))
    may_lack = frozenset(tag for _name, choice in choices for tag in choice.may_lack if tag in rules)
    whole = Choice(Selection(rules, dropped), listed, may_lack)
    return Blending(whole, {tag: tuple(numbers) for tag, numbers in places.items()})


def _surely_has(choice: Choice, tag: str) -> bool:
    if choice.listed is not None:
        return tag in choice.listed
    return tag in choice.selection.rules and tag not in choice.may_lack


class BlendedUpstream:
    """Reads several remotes as if they were one; remembers where what came from. Use it within one event loop."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = tuple(members)
        self._places: dict[str, tuple[int, ...]] = {}
        self._lists: list[frozenset[str] | None] = []
        self._homes: dict[Digest, int] = {}
        self._sender: dict[Digest, Upstream] = {}
        self.tagged: dict[str, int] = {}
        """By tag the number of the remote that it was found at."""

    @property
    def name(self) -> str:
        """All remotes."""
        return ", ".join(member.name for member in self.members)

    def take(self, choices: Sequence[Choice]) -> Choice:
        """Blend what is chosen of the first remotes, and look things up accordingly."""
        blending = blend([(member.name, choice) for member, choice in zip(self.members, choices, strict=False)])
        self._places, self._lists = dict(blending.places), [choice.listed for choice in choices]
        return blending.choice

    def home_of(self, digest: Digest) -> Member | None:
        """The remote that a manifest or blob came from, as far as that is known."""
        return self.members[self._homes[digest]] if digest in self._homes else None

    def listed_beside(self, digest: Digest) -> frozenset[str] | None:
        """All tags of the remote that a manifest came from; None where it was not asked for them."""
        home = self._homes.get(digest)
        return self._lists[home] if home is not None and home < len(self._lists) else None

    def look_beside(self, tag: str, digest: Digest) -> None:
        """Take a tag from where a manifest came from."""
        if digest in self._homes:
            self._places.setdefault(tag, (self._homes[digest],))

    def inherit(self, digest: Digest, parts: Iterable[Digest]) -> None:
        """What a manifest is made of, and what refers to it, came from where it came from."""
        home = self._homes.get(digest)
        if home is not None:
            for part in parts:
                self._homes.setdefault(part, home)

    async def tags(self) -> AsyncIterator[str]:
        """Yield every tag of every remote once."""
        seen: set[str] = set()
        for member in self.members:
            async for tag in member.source.tags():
                if tag not in seen:
                    seen.add(tag)
                    yield tag

    async def resolve(self, reference: str) -> Descriptor:
        """Ask the remotes that may have a tag, in order, until one has it; one that fails is not passed over."""
        missing: RemoteNotFound | None = None
        for number in self._places.get(reference, range(len(self.members))):
            member = self.members[number]
            try:
                found = await member.source.resolve(asked_for(member.request, reference))
            except RemoteNotFound as error:
                missing = missing or error
                continue
            self.tagged[reference] = number
            self._homes.setdefault(found.digest, number)
            return found
        raise missing or RemoteNotFound(f"none of the remotes has {reference}")

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Read a manifest from where it came from, or from another remote when it is gone there."""
        missing: RemoteNotFound | None = None
        for number in self._order(descriptor.digest):
            try:
                manifest = await self.members[number].source.read_manifest(descriptor)
            except RemoteNotFound as error:
                missing = missing or error
                continue
            self._homes.setdefault(manifest.digest, number)
            self.inherit(manifest.digest, (part.digest for _role, part in manifest.children()))
            return manifest
        assert missing is not None
        raise missing

    async def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """Yield a blob from where it came from, or from another remote when it is gone there."""
        missing: RemoteNotFound | None = None
        for number in self._order(descriptor.digest):
            self._sender[descriptor.digest] = self.members[number].source
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
        """Whether the remote that a blob belongs to says that it has it, or another one does."""
        for number in self._order(digest):
            source = self.members[number].source
            if isinstance(source, Proving) and await source.proves(digest, origins):
                return True
        return False

    def delivered_by(self, digest: Digest) -> str:
        """The registry that sent a blob."""
        source = self._sender.get(digest)
        return source.delivered_by(digest) if isinstance(source, Proving) else ""

    def blame(self, error: RemoteCorrupt, digest: Digest) -> bool:
        """Tell the remote that a blob of it was another one; whether it has another place to have it from."""
        source = (self.home_of(digest) or self.members[0]).source
        return isinstance(source, Blamable) and source.blame(error, digest)

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """What refers to a manifest where it came from."""
        home = self.home_of(digest) or self.members[0]
        found = await home.source.referrers(digest)
        self.inherit(digest, (one.digest for one in found))
        return found

    def _order(self, digest: Digest) -> Iterator[int]:
        home = self._homes.get(digest, 0)
        yield home
        yield from (number for number in range(len(self.members)) if number != home)


def blended_of(job: SyncJob) -> BlendedUpstream | None:
    """A sync's remotes, where it has several."""
    return job.upstream if isinstance(job.upstream, BlendedUpstream) else None


def members_of(request: SyncRequest, source: Upstream) -> tuple[Member, ...]:
    """The remotes of a sync, each by itself."""
    return source.members if isinstance(source, BlendedUpstream) else (Member(request, source),)


async def source_of(upstreams: Upstreams, request: SyncRequest) -> Upstream:
    """The remote that a sync asks, or all of them as one."""
    members = [Member(one, await upstreams.signed(one.upstream)) for one in request.each_alone()]
    return BlendedUpstream(members) if len(members) > 1 else members[0].source
