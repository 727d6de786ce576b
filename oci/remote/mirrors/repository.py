"""A repository that several registries have: mirrors are asked first, and each failure leads to the next place.

Source: containers-registries.conf(5), "mirror". What a tag points to may come from a mirror; what is read is verified by digest.
"""

import copy
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteError, RemoteNotFound
from oci.manifest import Manifest
from oci.remote.mirrors.health import HealthBook
from oci.remote.repository import RemoteRepository

_T = TypeVar("_T")
_REMEMBERED = 1000
"""Number of blobs whose senders are remembered."""


@dataclass(frozen=True, slots=True)
class Place:
    """One registry that has the repository; a `digest_only` one is not asked about tags."""

    repository: RemoteRepository
    digest_only: bool = False


class MirroredRepository(RemoteRepository):
    """Reads from mirrors or the upstream itself; tags are listed, and everything is written, at the upstream itself.

    A mirror that lacks some tags would make a mirror sync remove them.
    """

    def __init__(self, origin: RemoteRepository, mirrors: Sequence[Place], health: HealthBook) -> None:
        super().__init__(origin.transport, origin.repository)
        self._places = (*mirrors, Place(origin))
        self._health = health
        self._senders: OrderedDict[Digest, set[str]] = OrderedDict()
        self._gave: OrderedDict[Digest, set[str]] = OrderedDict()
        self._wrong: OrderedDict[Digest, set[str]] = OrderedDict()

    def failing_fast(self) -> "MirroredRepository":
        """Return the same repository without retries at the last place."""
        copied = copy.copy(self)
        copied.fail_fast = True
        return copied

    async def resolve(self, reference: str) -> Descriptor:
        """Return what a tag or digest points to, at the first place that has it."""
        is_digest = ":" in reference
        places = [place for place in self._places if is_digest or not place.digest_only]
        return await self._first(places, lambda repository: repository.resolve(reference))

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest, verified, from the first place that has it."""
        return await self._first(self._places, lambda repository: repository.read_manifest(descriptor))

    async def referrers(self, digest: Digest) -> list[Descriptor]:
        """Return what refers to a manifest at the upstream itself; a mirror is asked where that fails."""
        places = [self._places[-1], *self._places[:-1]]
        return await self._first(places, lambda repository: repository.referrers(digest))

    async def offers(self, digest: Digest) -> bool:
        """Return whether any place would give the blob."""
        found = False
        for repository in self._in_turn(self._places):
            try:
                found = await repository.offers(digest)
            except RemoteError:
                if not repository.fail_fast:
                    raise
            if found:
                break
        return found

    async def proves(self, digest: Digest, origins: Collection[str]) -> bool:
        """Return whether a place that is one of `origins` confirms that it has the blob."""
        for repository in self._in_turn(self._places):
            if await repository.proves(digest, origins):
                return True
        return False

    def delivered_by(self, digest: Digest) -> str:
        """Return the registry that has sent all of the blob; empty where several have."""
        names = self._gave.get(digest, set())
        found = [place.repository for place in self._places if place.repository.name in names]
        return found[0].delivered_by(digest) if len(found) == 1 else ""

    async def read_blob(self, descriptor: Descriptor, start: int = 0) -> AsyncIterator[bytes]:
        """Yield a blob's bytes from `start` on; where one place breaks off, the next one goes on. The reader verifies them."""
        wrong = self._wrong.get(descriptor.digest, set())
        places = [place for place in self._places if place.repository.name not in wrong] or list(self._places)
        senders = self._senders.setdefault(descriptor.digest, set())
        _bound(self._senders)
        gave = self._gave.setdefault(descriptor.digest, set())
        _bound(self._gave)
        if start == 0:
            senders.clear()
            gave.clear()
        offset = start
        raised: dict[str, RemoteError] = {}
        for repository in self._in_turn(places):
            senders.add(repository.name)
            try:
                async with aclosing(repository.read_blob(descriptor, offset)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        offset += len(chunk)
                        gave.add(repository.name)
                        yield chunk
            except RemoteError as error:
                raised[repository.name] = error
                if self._is_final(repository, error):
                    break
            else:
                return
        raise self._deciding_error(raised)

    def report_corrupt(self, error: RemoteCorrupt, digest: Digest) -> bool:
        """Avoid the last senders of a corrupt blob; return whether there is another place that has not sent it corrupt."""
        wrong = self._wrong.setdefault(digest, set())
        _bound(self._wrong)
        for name in self._senders.pop(digest, set()):
            wrong.add(name)
            self._health.note(name.partition("/")[0], error)
        return any(place.repository.name not in wrong for place in self._places)

    def _in_turn(self, places: Sequence[Place]) -> Iterator[RemoteRepository]:
        """Yield the healthy places first; only the last is waited for, and asked again."""
        ordered = self._health.in_order(places, lambda place: place.repository.host)
        for place in ordered[:-1]:
            yield place.repository.failing_fast()
        yield ordered[-1].repository.failing_fast() if self.fail_fast else ordered[-1].repository

    async def _first(self, places: Sequence[Place], ask: Callable[[RemoteRepository], Awaitable[_T]]) -> _T:
        raised: dict[str, RemoteError] = {}
        for repository in self._in_turn(places):
            try:
                return await ask(repository)
            except RemoteError as error:
                if isinstance(error, RemoteCorrupt):
                    self._health.note(repository.host, error)
                raised[repository.name] = error
                if self._is_final(repository, error):
                    break
        raise self._deciding_error(raised)

    def _is_final(self, repository: RemoteRepository, error: RemoteError) -> bool:
        """Return whether no other place is to be asked: what the upstream itself lacks does not exist."""
        return repository.name == self.name and isinstance(error, RemoteNotFound)

    def _deciding_error(self, raised: dict[str, RemoteError]) -> RemoteError:
        """Return the error of the upstream itself, else the last."""
        return raised.get(self.name) or list(raised.values())[-1]


def _bound(senders: "OrderedDict[Digest, set[str]]") -> None:
    while len(senders) > _REMEMBERED:
        senders.popitem(last=False)
