"""Children that an index names and its repository lacks, such as platforms that a sync did not select."""

from collections.abc import Mapping

from catalog.blobs.origins import Origin
from catalog.distributions.records import Distribution
from catalog.remotes.clients import Upstreams
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import DigestInvalid, RemoteUnavailable
from oci.remote.network.hops import check_hops
from oci.remote.omitted_children import left_out_text
from registry_api.bounded_cache import BoundedCache
from registry_api.context import Registry
from registry_api.http.eager import enter_task
from registry_api.http.errors import ChildLeftOut
from registry_api.pull_through.ingest import ingest_manifests
from registry_api.pull_through.upstream_requests import SingleFlight, UpstreamRequest

_VERSIONS = 100
"""Versions whose missing children are remembered."""


class MissingChildren:
    """Fetches such a child on its first request, where its repository was synced on demand; else refuses with a reason."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._requests = SingleFlight()
        self._missing: BoundedCache[tuple[str, int], Mapping[Digest, Digest]] = BoundedCache(_VERSIONS)

    async def fetch(self, registry: Registry, distribution: Distribution, reference: str) -> None:
        """Fetch and commit a missing child that can be fetched.

        Does nothing for a digest that is here, or that no index here names. Raises ChildLeftOut, or the upstream's error.
        """
        await enter_task()
        snapshot = registry.catalog.serving.cached(distribution.path) or await registry.find_served(distribution.path)
        if snapshot is None or reference in snapshot.manifests:
            return
        parent = await self.parent_of(registry, snapshot, reference)
        if parent is None:
            return
        digest = Digest(reference)
        origin = None
        if distribution.version is None:
            origin = await registry.threads.run(registry.catalog.sources.origin_of, snapshot)
        if origin is None:
            raise ChildLeftOut(
                f"{left_out_text(digest, parent, distribution.path)}; a sync of all platforms, or on demand, has it"
            )
        if registry.catalog.settings.read_only:
            raise RemoteUnavailable(f"this registry is read-only now; it fetches no further part of the index {parent}")
        check_hops(origin.remote.host)

        async def fetch() -> None:
            latest = await registry.find_served(distribution.path) or snapshot
            if digest in latest.manifests:  # committed since this request looked
                return
            source = await self._upstreams.repository(origin.remote)
            root = await source.resolve(digest)
            await ingest_manifests(
                registry,
                latest,
                source,
                [root],
                origin=Origin(str(origin.remote), origin.policy),
                remote=origin.remote,
                actor="on demand",
                serve="nobody",
            )

        await self._requests.run(UpstreamRequest(distribution.path, reference), fetch, fresh=60.0, is_here=False)

    async def parent_of(self, registry: Registry, snapshot: Snapshot, reference: str) -> Digest | None:
        """Return an index of a version that names a manifest which the version lacks; None without such an index."""
        try:
            digest = Digest.parse(reference)
        except DigestInvalid:
            return None
        key = (snapshot.repository, snapshot.version)
        missing = self._missing.get(key)
        if missing is None:
            missing = await registry.threads.run(_find_missing, registry, snapshot)
            self._missing.put(key, missing)
        return missing.get(digest)

    async def close(self) -> None:
        """Cancel what is running."""
        await self._requests.close()


def _find_missing(registry: Registry, snapshot: Snapshot) -> Mapping[Digest, Digest]:
    """Return a version's missing children, each with one index that names it; on a thread."""
    indexes = {digest for digest, entry in snapshot.manifests.items() if entry.media_type in mediatypes.INDEXES}
    if not indexes:
        return {}
    children = registry.catalog.history.children(snapshot.repository, indexes)
    here = snapshot.manifests.keys() | snapshot.blobs.keys()
    return {child: parent for parent, parts in children.items() for child in parts if child not in here}
