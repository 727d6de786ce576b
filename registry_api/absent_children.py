"""Children that an index names and its repository was made without, such as platforms that a sync did not take."""

from catalog.distributions import Distribution
from catalog.snapshot import Snapshot
from catalog.sources import Origin
from catalog.upstreams import Upstreams
from oci import mediatypes
from oci.digest import Digest
from oci.errors import DigestInvalid
from registry_api.errors import ChildLeftOut
from registry_api.questions import Question, Questions
from registry_api.registry import Registry
from registry_api.taking import take_manifests


class AbsentChildren:
    """Brings such a child with the first request for it, where its repository came on demand; else says why it is absent."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._questions = Questions()

    async def bring(self, registry: Registry, found: Distribution, reference: str) -> None:
        """Make sure that a digest is here if it is a child left out that can be fetched.

        Does nothing for a digest that is here or that no index here names. Raises ChildLeftOut, or what upstream fails with.
        """
        snapshot = registry.catalog.cached_served(found.path) or await registry.find_served(found.path)
        if snapshot is None or reference in snapshot.manifests:
            return
        try:
            digest = Digest.parse(reference)
        except DigestInvalid:
            return
        parent = await registry.threads.run(_find_parent, registry, snapshot, digest)
        if parent is None:
            return
        origin = None
        if found.version is None:
            origin = await registry.threads.run(registry.catalog.sources.origin_of, snapshot.blobs)
        if origin is None:
            raise ChildLeftOut(
                f"{digest} is named by the index {parent}, but {found.path} was made without it; a sync of all platforms, or on "
                "demand, has it"
            )

        async def ask() -> None:
            source = await self._upstreams.repository(origin.remote)
            root = await source.resolve(digest)
            await take_manifests(
                registry,
                snapshot,
                source,
                [root],
                origin=Origin(str(origin.remote), origin.policy),
                remote=origin.remote,
                actor="on demand",
                serve="nobody",
            )

        await self._questions.ask(Question(found.path, reference), ask, fresh=60.0, is_here=False)

    async def close(self) -> None:
        """Break off what is under way."""
        await self._questions.close()


def _find_parent(registry: Registry, snapshot: Snapshot, digest: Digest) -> Digest | None:
    """The index of the version that names a manifest; on a thread."""
    indexes = {one for one, entry in snapshot.manifests.items() if entry.media_type in mediatypes.INDEXES}
    if not indexes:
        return None
    children = registry.catalog.children(snapshot.repository, indexes)
    return next((parent for parent, parts in children.items() if digest in parts), None)
