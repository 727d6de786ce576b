"""Pull-through caches: what a client asks for below a cache's path is brought here first, then served as anything else is."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from catalog.blobs.origins import Origin
from catalog.distributions.records import Distribution
from catalog.remotes.clients import Upstreams
from catalog.versions.changes import Change, SetTag
from catalog.versions.snapshot import Snapshot
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, NameUnknown, RemoteNotFound
from oci.reference import is_tag, registry_name
from oci.remote.address import Remote, parse_remote
from oci.target import Source
from registry_api.context import Registry
from registry_api.pull_through.ingest import take_manifests
from registry_api.pull_through.upstream_requests import Question, Questions

log = logging.getLogger("registry_api")

_REFERRERS_AT_MOST = 200
"""Referrers of one manifest that are brought here with one question."""

_TAGS_KEPT = 500_000
"""Tags of upstreams' lists that are kept in memory, of all names together."""


class Caches:
    """Keeps tags, lists of tags and referrers as fresh as their caches ask for."""

    def __init__(self, upstreams: Upstreams, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._upstreams = upstreams
        self._questions = Questions(clock=clock)
        self._lists: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def place(self, registry: Registry, namespace: str, name: str) -> tuple[str, str | None]:
        """Where a name of another registry is to be had here, and that registry, if there is a cache of it; else the name alone.

        Source: distribution-spec (development head), parameter `ns`; containerd sends it to the mirrors of a registry.
        """
        wanted = registry_name(namespace)
        for cache in registry.catalog.distributions.caches():
            remote = parse_remote(f"{cache.remote}/name").reference
            if remote.repository in {"name", "library/name"} and registry_name(remote.registry) == wanted:
                return f"{cache.path}/{name}", namespace
        return name, None

    async def bring(
        self, registry: Registry, cache: Distribution, name: str, reference: str, why_not: EntrepotError | None = None
    ) -> str:
        """Make sure that the repository holds what upstream has under the reference, if that is to be had.

        Does nothing for a digest that is here and for a tag that is fresh. A tag that is here is served as it is when upstream
        fails, and a warning for the client is returned; otherwise the RemoteError is raised, as it is when upstream says that
        there is no such thing. `why_not` is what keeps this request from asking upstream, and counts as what upstream has said.
        """
        is_digest = ":" in reference

        def holds(snapshot: Snapshot) -> bool:
            return reference in (snapshot.manifests if is_digest else snapshot.tags)

        is_here = holds(await registry.find_served(name) or Snapshot(name, 0))
        if is_here and is_digest:
            return ""

        async def ask() -> None:
            snapshot = await registry.find_served(name) or Snapshot(name, 0)
            if holds(snapshot) and not is_here:  # brought since this request looked
                return
            source = await self._upstreams.repository(remote_below(cache, name))
            root = await source.resolve(reference)
            if is_digest or snapshot.tags.get(reference) != root.digest:
                changes = () if is_digest else (SetTag(reference, root.digest),)
                await self._take(registry, cache, snapshot, source, [root], changes)

        return _warning(cache, await self._ask(cache, Question(name, reference), ask, why_not, is_here=is_here))

    async def _ask(
        self,
        cache: Distribution,
        question: Question,
        ask: Callable[[], Coroutine[Any, Any, None]],
        why_not: EntrepotError | None,
        *,
        is_here: bool,
    ) -> str:
        if why_not is None:
            return await self._questions.ask(question, ask, fresh=float(cache.fresh_seconds), is_here=is_here)
        if isinstance(why_not, RemoteNotFound) or not is_here:
            raise why_not
        return "" if self._questions.is_fresh(question) else str(why_not)

    async def bring_referrers(
        self, registry: Registry, cache: Distribution, name: str, subject: str, why_not: EntrepotError | None = None
    ) -> str:
        """Make sure that the repository holds what upstream lists as referring to a manifest; a warning says that it may not."""
        digest = Digest.parse(subject)
        snapshot = await registry.find_served(name) or Snapshot(name, 0)

        async def ask() -> None:
            source = await self._upstreams.repository(remote_below(cache, name))
            found = (await source.referrers(digest))[:_REFERRERS_AT_MOST]
            for remark in source.remarks:
                log.info("cache asks for referrers name=%s remark=%s", name, remark)
            new = [one for one in found if one.digest not in snapshot.manifests]
            if new:
                await self._take(registry, cache, snapshot, source, new)

        question = Question(name, f"referrers {digest}")
        try:
            said = await self._ask(cache, question, ask, why_not, is_here=True)
        except RemoteNotFound as error:  # listed, and not there
            said = "" if error is why_not else str(error)
        return _warning(cache, said)

    async def bring_signatures(
        self, registry: Registry, cache: Distribution, name: str, subject: str, why_not: EntrepotError | None = None
    ) -> str:
        """Make sure that the repository holds a manifest and the Atomic signatures that upstream, or its lookaside, has of it; a
        warning says that it may not."""
        warning = await self.bring(registry, cache, name, subject, why_not)
        digest = Digest.parse(subject)
        snapshot = await registry.find_served(name) or Snapshot(name, 0)

        async def ask() -> None:
            source = await self._upstreams.signed(remote_below(cache, name))
            found = (await source.signatures(digest))[:_REFERRERS_AT_MOST]
            new = [one for one in found if one.digest not in snapshot.manifests]
            if new:
                await self._take(registry, cache, snapshot, source, new)

        question = Question(name, f"signatures {digest}")
        try:
            said = await self._ask(cache, question, ask, why_not, is_here=True)
        except RemoteNotFound as error:  # the manifest is gone upstream
            said = "" if error is why_not else str(error)
        return _warning(cache, said) or warning

    async def list_tags(
        self, registry: Registry, cache: Distribution, name: str, why_not: EntrepotError | None = None
    ) -> tuple[Sequence[str], str]:
        """The tags that upstream lists, and a warning when it could not be asked; raise NameUnknown when there are none."""
        is_here = name in self._lists or await registry.find_served(name) is not None

        async def ask() -> None:
            source = await self._upstreams.repository(remote_below(cache, name))
            self._keep_list(name, tuple([tag async for tag in source.tags() if is_tag(tag)]))

        question = Question(name, "tags/list")
        if name not in self._lists:  # dropped from memory, or another process's: asked for however fresh it was
            self._questions.forget(question)
        try:
            said = await self._ask(cache, question, ask, why_not, is_here=is_here)
        except RemoteNotFound:
            self._lists.pop(name, None)
            if await registry.find_served(name) is None:
                raise NameUnknown(f"neither {cache.remote} nor this cache of it has {name}") from None
            return (), ""
        if said:  # what is known is good for as long as upstream is left alone
            self._keep_list(name, self._lists.get(name, ()))
        return self._lists.get(name, ()), _warning(cache, said)

    def _keep_list(self, name: str, tags: tuple[str, ...]) -> None:
        self._lists.pop(name, None)
        self._lists[name] = tags
        kept = sum(map(len, self._lists.values())) + len(self._lists)
        while kept > _TAGS_KEPT and len(self._lists) > 1:
            kept -= len(self._lists.popitem(last=False)[1]) + 1

    async def _take(
        self,
        registry: Registry,
        cache: Distribution,
        snapshot: Snapshot,
        source: Source,
        roots: Sequence[Descriptor],
        changes: Sequence[Change] = (),
    ) -> None:
        remote = remote_below(cache, snapshot.repository)
        await take_manifests(
            registry,
            snapshot,
            source,
            roots,
            changes,
            origin=Origin(str(remote), "on_demand"),
            remote=remote,
            actor=f"cache {cache.path}",
            serve="private" if cache.private else "public",
        )

    async def close(self) -> None:
        """Break off what is under way."""
        await self._questions.close()


def _warning(cache: Distribution, said: str) -> str:
    return f"{cache.remote} was not asked or cannot be reached; this is what it had before" if said else ""


def remote_below(cache: Distribution, name: str) -> Remote:
    """The upstream repository that a name below a cache stands for."""
    return parse_remote(f"{cache.remote}/{name.removeprefix(f'{cache.path}/')}")
