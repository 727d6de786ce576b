"""Children that an index names and its repository was made without, such as platforms that a sync did not take."""

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
from registry_api.context import Registry
from registry_api.http.errors import ChildLeftOut
from registry_api.lru import Recent
from registry_api.pull_through.ingest import take_manifests
from registry_api.pull_through.upstream_requests import Question, Questions

_VERSIONS = 100
"""Versions of which the absent children are remembered."""


class AbsentChildren:
    """Brings such a child with the first request for it, where its repository came on demand; else says why it is absent."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._questions = Questions()
        self._absent: Recent[tuple[str, int], Mapping[Digest, Digest]] = Recent(_VERSIONS)

    async def bring(self, registry: Registry, found: Distribution, reference: str) -> None:
        """Make sure that a digest is here if it is a child left out that can be fetched.

        Does nothing for a digest that is here or that no index here names. Raises ChildLeftOut, or what upstream fails with.
        """
        snapshot = registry.catalog.serving.cached(found.path) or await registry.find_served(found.path)
        if snapshot is None or reference in snapshot.manifests:
            return
        parent = await self.parent_of(registry, snapshot, reference)
        if parent is None:
            return
        digest = Digest(reference)
        origin = None
        if found.version is None:
            origin = await registry.threads.run(registry.catalog.sources.origin_of, snapshot)
        if origin is None:
            raise ChildLeftOut(
                f"{left_out_text(digest, parent, found.path)}; a sync of all platforms, or on demand, has it"
            )
        if registry.catalog.settings.read_only:
            raise RemoteUnavailable(f"this registry is read-only now, and brings no further part of the index {parent}")
        check_hops(origin.remote.host)

        async def ask() -> None:
            latest = await registry.find_served(found.path) or snapshot
            if digest in latest.manifests:  # brought since this request looked
                return
            source = await self._upstreams.repository(origin.remote)
            root = await source.resolve(digest)
            await take_manifests(
                registry,
                latest,
                source,
                [root],
                origin=Origin(str(origin.remote), origin.policy),
                remote=origin.remote,
                actor="on demand",
                serve="nobody",
            )

        await self._questions.ask(Question(found.path, reference), ask, fresh=60.0, is_here=False)

    async def parent_of(self, registry: Registry, snapshot: Snapshot, reference: str) -> Digest | None:
        """An index of a version that names a manifest which the version has not got; None when there is no such index."""
        try:
            digest = Digest.parse(reference)
        except DigestInvalid:
            return None
        key = (snapshot.repository, snapshot.version)
        absent = self._absent.get(key)
        if absent is None:
            absent = await registry.threads.run(_find_absent, registry, snapshot)
            self._absent.keep(key, absent)
        return absent.get(digest)

    async def close(self) -> None:
        """Break off what is under way."""
        await self._questions.close()


def _find_absent(registry: Registry, snapshot: Snapshot) -> Mapping[Digest, Digest]:
    """The children that indexes of a version name and that it has not got, each with one such index; on a thread."""
    indexes = {one for one, entry in snapshot.manifests.items() if entry.media_type in mediatypes.INDEXES}
    if not indexes:
        return {}
    children = registry.catalog.history.children(snapshot.repository, indexes)
    here = snapshot.manifests.keys() | snapshot.blobs.keys()
    return {child: parent for parent, parts in children.items() for child in parts if child not in here}
