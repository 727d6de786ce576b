"""Pull-through caches: what a client requests below a cache's path is fetched first, then served like all other content."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from catalog.blobs.origins import Origin
from catalog.distributions.records import Distribution
from catalog.remotes.clients import Upstreams
from catalog.versions.changes import Change, SetTag
from catalog.versions.snapshot import Snapshot
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, NameUnknown, RemoteNotFound
from oci.kinds import attestation_tag, signature_tag
from oci.reference import is_tag, registry_name
from oci.remote.address import Remote, parse_remote
from oci.target import Source
from registry_api.bounded_cache import BoundedCache
from registry_api.context import Registry
from registry_api.pull_through.ingest import ingest_manifests
from registry_api.pull_through.upstream_requests import SingleFlight, UpstreamRequest

log = logging.getLogger("registry_api")

_REFERRERS_AT_MOST = 200
"""Referrers of one manifest that one request fetches."""

_MOST_TAGS = 500_000
"""Tags of upstreams' lists that are in memory, of all names together."""

EVIDENCE_ASKED = timedelta(seconds=30)
"""How long upstream is not asked again what lies beside a manifest that a gate keeps back."""

_MOST_EVIDENCE = 20_000
"""Manifests of which it is remembered when upstream was asked so."""


class Caches:
    """Keeps tags, lists of tags and referrers as fresh as their caches require."""

    def __init__(self, upstreams: Upstreams, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._upstreams = upstreams
        self._requests = SingleFlight(clock=clock)
        self._lists: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._evidence_asked: BoundedCache[tuple[str, Digest], datetime] = BoundedCache(_MOST_EVIDENCE)

    def resolve_namespace(self, registry: Registry, namespace: str, name: str) -> tuple[str, str | None]:
        """Return the path of another registry's name below its cache, and that registry; without a cache the name and None.

        Source: distribution-spec (development head), parameter `ns`; containerd sends it to the mirrors of a registry.
        """
        searched = registry_name(namespace)
        for cache in registry.catalog.distributions.caches():
            remote = parse_remote(f"{cache.remote}/name").reference
            if remote.repository in {"name", "library/name"} and registry_name(remote.registry) == searched:
                return f"{cache.path}/{name}", namespace
        return name, None

    async def fetch_manifest(
        self, registry: Registry, cache: Distribution, name: str, reference: str, denial: EntrepotError | None = None
    ) -> str:
        """Fetch and commit what upstream has under a tag or digest; return a warning for the client, or "".

        Does nothing for a digest that is here, and for a tag that is fresh. When upstream fails, a tag that is here is served
        as it is, with a warning. Otherwise the RemoteError is raised, as for RemoteNotFound in any case. `denial` is the
        reason not to send a request upstream; it counts as upstream's error.
        """
        is_digest = ":" in reference

        def holds(snapshot: Snapshot) -> bool:
            return reference in (snapshot.manifests if is_digest else snapshot.tags)

        is_here = holds(await registry.find_served(name) or Snapshot(name, 0))
        if is_here and is_digest:
            return ""

        async def fetch() -> None:
            snapshot = await registry.find_served(name) or Snapshot(name, 0)
            if holds(snapshot) and not is_here:  # committed since this request looked
                return
            source = await self._upstreams.repository(remote_below(cache, name))
            root = await source.resolve(reference)
            if is_digest or snapshot.tags.get(reference) != root.digest:
                changes = () if is_digest else (SetTag(reference, root.digest),)
                await self._ingest(registry, cache, snapshot, source, [root], changes)

        return _warning(
            cache, await self._request(cache, UpstreamRequest(name, reference), fetch, denial, is_here=is_here)
        )

    async def _request(
        self,
        cache: Distribution,
        request: UpstreamRequest,
        fetch: Callable[[], Coroutine[Any, Any, None]],
        denial: EntrepotError | None,
        *,
        is_here: bool,
    ) -> str:
        if denial is None:
            return await self._requests.run(request, fetch, fresh=float(cache.fresh_seconds), is_here=is_here)
        if isinstance(denial, RemoteNotFound) or not is_here:
            raise denial
        return "" if self._requests.is_fresh(request) else str(denial)

    async def fetch_referrers(
        self, registry: Registry, cache: Distribution, name: str, subject: str, denial: EntrepotError | None = None
    ) -> str:
        """Fetch and commit what upstream lists as referrers of a manifest; return a warning where they may be stale, or ""."""
        digest = Digest.parse(subject)
        snapshot = await registry.find_served(name) or Snapshot(name, 0)

        async def fetch() -> None:
            source = await self._upstreams.repository(remote_below(cache, name))
            referrers = (await source.referrers(digest))[:_REFERRERS_AT_MOST]
            for remark in source.remarks:
                log.info("cache fetches referrers name=%s remark=%s", name, remark)
            new = [referrer for referrer in referrers if referrer.digest not in snapshot.manifests]
            if new:
                await self._ingest(registry, cache, snapshot, source, new)

        request = UpstreamRequest(name, f"referrers {digest}")
        try:
            failure = await self._request(cache, request, fetch, denial, is_here=True)
        except RemoteNotFound as error:  # listed, and not there
            failure = "" if error is denial else str(error)
        return _warning(cache, failure)

    async def fetch_evidence(
        self, registry: Registry, cache: Distribution, name: str, digest: Digest, denial: EntrepotError | None
    ) -> None:
        """Fetch and commit what may vouch for a manifest that a gate keeps back: signatures and attestations, by tag or referrer.

        What upstream lacks or fails to give is missing. It is asked once in EVIDENCE_ASKED, however often clients pull.
        """
        now, about = registry.now(), (name, digest)
        asked = self._evidence_asked.get(about)
        if asked is not None and now - EVIDENCE_ASKED < asked <= now:
            return
        for tag in (signature_tag(digest), attestation_tag(digest)):
            with suppress(EntrepotError):
                await self.fetch_manifest(registry, cache, name, tag, denial)
        with suppress(EntrepotError):
            await self.fetch_referrers(registry, cache, name, digest, denial)
        if denial is None:
            self._evidence_asked.put(about, now)

    async def fetch_signatures(
        self, registry: Registry, cache: Distribution, name: str, subject: str, denial: EntrepotError | None = None
    ) -> str:
        """Fetch and commit a manifest with the Atomic signatures of upstream or its lookaside; return a warning where they may
        be stale, or ""."""
        warning = await self.fetch_manifest(registry, cache, name, subject, denial)
        digest = Digest.parse(subject)
        snapshot = await registry.find_served(name) or Snapshot(name, 0)

        async def fetch() -> None:
            source = await self._upstreams.signed(remote_below(cache, name))
            signatures = (await source.signatures(digest))[:_REFERRERS_AT_MOST]
            new = [signature for signature in signatures if signature.digest not in snapshot.manifests]
            if new:
                await self._ingest(registry, cache, snapshot, source, new)

        request = UpstreamRequest(name, f"signatures {digest}")
        try:
            failure = await self._request(cache, request, fetch, denial, is_here=True)
        except RemoteNotFound as error:  # the manifest is gone upstream
            failure = "" if error is denial else str(error)
        return _warning(cache, failure) or warning

    async def list_tags(
        self, registry: Registry, cache: Distribution, name: str, denial: EntrepotError | None = None
    ) -> tuple[Sequence[str], str]:
        """Return the tags that upstream lists, and a warning where they may be stale, or ""; raise NameUnknown without any."""
        is_served = name not in self._lists and await registry.find_served(name) is not None
        is_here = is_served or name in self._lists  # which may have come meanwhile

        async def fetch() -> None:
            source = await self._upstreams.repository(remote_below(cache, name))
            self._keep_list(name, tuple([tag async for tag in source.tags() if is_tag(tag)]))

        request = UpstreamRequest(name, "tags/list")
        if name not in self._lists:  # evicted from memory, or fetched by another process: requested however fresh
            self._requests.forget(request)
        try:
            failure = await self._request(cache, request, fetch, denial, is_here=is_here)
        except RemoteNotFound:
            self._lists.pop(name, None)
            if await registry.find_served(name) is None:
                raise NameUnknown(f"neither {cache.remote} nor this cache of it has {name}") from None
            return (), ""
        if failure:  # the known list is used until upstream is asked again
            self._keep_list(name, self._lists.get(name, ()))
        return self._lists.get(name, ()), _warning(cache, failure)

    def _keep_list(self, name: str, tags: tuple[str, ...]) -> None:
        self._lists.pop(name, None)
        self._lists[name] = tags
        total = sum(map(len, self._lists.values())) + len(self._lists)
        while total > _MOST_TAGS and len(self._lists) > 1:
            total -= len(self._lists.popitem(last=False)[1]) + 1

    async def _ingest(
        self,
        registry: Registry,
        cache: Distribution,
        snapshot: Snapshot,
        source: Source,
        roots: Sequence[Descriptor],
        changes: Sequence[Change] = (),
    ) -> None:
        remote = remote_below(cache, snapshot.repository)
        await ingest_manifests(
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
        """Cancel what is running."""
        await self._requests.close()


def _warning(cache: Distribution, failure: str) -> str:
    return f"{cache.remote} was not asked or cannot be reached; this is what it had before" if failure else ""


def remote_below(cache: Distribution, name: str) -> Remote:
    """Return the upstream repository of a name below a cache."""
    return parse_remote(f"{cache.remote}/{name.removeprefix(f'{cache.path}/')}")
