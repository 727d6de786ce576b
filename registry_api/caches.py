"""Pull-through caches: what a client asks for below a cache's path is brought here first, then served as anything else is."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from catalog.changes import AddManifest, Change, Commit, SetTag
from catalog.distributions import Distribution
from catalog.snapshot import Snapshot
from catalog.sources import Origin, parts_now
from catalog.target import RepositoryTarget
from catalog.upstreams import Upstreams
from oci.copy import GraphCopier
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.errors import RemoteError, RemoteNotFound
from oci.manifest import Manifest
from oci.remote.address import Remote, parse_remote
from oci.remote.repository import RemoteRepository
from registry_api.registry import Registry

log = logging.getLogger("registry_api")

STALE_AFTER = 10.0
"""Seconds after which a client whose tag is here already is not kept waiting for upstream any longer."""

_ASK_AGAIN = 30.0
"""Seconds for which an upstream that failed is not asked again about a tag that is here."""

_REMEMBERED = 100_000

_HUB = dict.fromkeys(("docker.io", "index.docker.io", "registry-1.docker.io"), "docker.io")
"""The names that one registry goes by."""


class _Wanted(NamedTuple):
    """A tag or a digest of a repository below a cache."""

    repository: str
    reference: str


class Caches:
    """Keeps tags as fresh as their caches ask for. One question to upstream at a time for each tag or digest."""

    def __init__(self, upstreams: Upstreams, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._upstreams, self._clock = upstreams, clock
        self._fresh_until: OrderedDict[_Wanted, float] = OrderedDict()
        self._running: dict[_Wanted, asyncio.Task[None]] = {}

    def place(self, registry: Registry, namespace: str, name: str) -> tuple[str, str | None]:
        """Where a name of another registry is to be had here, and that registry, if there is a cache of it; else the name alone.

        Source: distribution-spec (development head), parameter `ns`; containerd sends it to the mirrors of a registry.
        """
        wanted = _HUB.get(namespace, namespace)
        for cache in registry.catalog.distributions.caches():
            remote = parse_remote(f"{cache.remote}/name").reference
            if remote.repository in {"name", "library/name"} and _HUB.get(remote.registry, remote.registry) == wanted:
                return f"{cache.path}/{name}", namespace
        return name, None

    async def bring(self, registry: Registry, cache: Distribution, name: str, reference: str) -> str:
        """Make sure that the repository holds what upstream has under the reference, if that is to be had.

        Does nothing for a digest that is here and for a tag that is fresh. A tag that is here is served as it is when upstream
        fails, and a warning for the client is returned; otherwise the RemoteError is raised, as it is when upstream says that
        there is no such thing.
        """
        wanted = _Wanted(name, reference)
        snapshot = await registry.find_served(name) or Snapshot(name, 0)
        is_here = reference in (snapshot.manifests if ":" in reference else snapshot.tags)
        if is_here and (":" in reference or self._clock() < self._fresh_until.get(wanted, 0.0)):
            return ""
        task = self._running.get(wanted)
        if task is None:
            task = asyncio.create_task(self._ask(registry, cache, snapshot, wanted))
            self._running[wanted] = task
            task.add_done_callback(partial(self._end, wanted))
        if not is_here:
            await asyncio.shield(task)
            return ""
        try:
            async with asyncio.timeout(STALE_AFTER):
                await asyncio.shield(task)
        except RemoteNotFound:
            raise
        except (TimeoutError, RemoteError) as error:
            said = str(error) or f"upstream has not answered for {STALE_AFTER:g} s"
            log.warning("cache serves stale name=%s tag=%s error=%s", name, reference, said)
            self._remember(wanted, min(_ASK_AGAIN, float(cache.fresh_seconds)))
            return f"{cache.remote} cannot be reached; this is what it had before"
        return ""

    def _end(self, wanted: _Wanted, task: "asyncio.Task[None]") -> None:
        del self._running[wanted]
        if not task.cancelled():
            task.exception()  # looked at: whoever asked may have been served something stale long ago

    async def _ask(self, registry: Registry, cache: Distribution, snapshot: Snapshot, wanted: _Wanted) -> None:
        remote = remote_below(cache, wanted.repository)
        source = await self._upstreams.repository(remote)
        root = await source.resolve(wanted.reference)
        if snapshot.tags.get(wanted.reference) != root.digest:
            await self._take(registry, cache, snapshot, remote, source, wanted, root)
        self._remember(wanted, cache.fresh_seconds)

    async def _take(
        self,
        registry: Registry,
        cache: Distribution,
        snapshot: Snapshot,
        remote: Remote,
        source: RemoteRepository,
        wanted: _Wanted,
        root: Descriptor,
    ) -> None:
        """Copy a manifest without its layers and children, and make one version with it."""
        target = RepositoryTarget(registry.catalog, snapshot)
        copier = GraphCopier(source, target, parts=_parts)
        try:
            await copier.copy(Descriptor(root.media_type, root.digest, UNKNOWN_SIZE))
        finally:
            await copier.close()
        changes: list[Change] = [AddManifest(root)]
        if ":" not in wanted.reference:
            changes.append(SetTag(wanted.reference, root.digest))
        commit = Commit(
            repository=wanted.repository,
            operation="pull-through",
            changes=tuple(changes),
            operation_id=registry.make_id(),
            actor=f"cache {cache.path}",
            message=f"{remote} {wanted.reference}",
            created_at=registry.now(),
            allow_sparse=True,
            origin=Origin(str(remote), "on_demand"),
            serve="private" if cache.private else "public",
        )
        await registry.threads.commit(registry.catalog.commit, commit)

    def _remember(self, wanted: _Wanted, seconds: float) -> None:
        if ":" in wanted.reference:
            return
        self._fresh_until[wanted] = self._clock() + seconds
        self._fresh_until.move_to_end(wanted)
        if len(self._fresh_until) > _REMEMBERED:
            self._fresh_until.popitem(last=False)

    async def close(self) -> None:
        """Break off what is under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _parts(manifest: Manifest) -> list[tuple[str, Descriptor]]:
    """What comes with a manifest at once: its config, and the parts of what belongs to an image."""
    return [(role, part) for role, part in parts_now(manifest.children(), manifest) if role != "manifest"]


def remote_below(cache: Distribution, name: str) -> Remote:
    """The upstream repository that a name below a cache stands for."""
    return parse_remote(f"{cache.remote}/{name.removeprefix(f'{cache.path}/')}")
