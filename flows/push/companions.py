"""Companions of pushed images: referrers, which a registry without their API needs listed, and Atomic signatures."""

import asyncio
from collections.abc import Sequence

from catalog.signing.stored import atomic_signatures
from catalog.versions.snapshot import Snapshot
from flows.push.context import Opened, PushContext, Route
from flows.push.plan import Children, made_of
from flows.push.target import charge
from oci.copy import GraphCopier
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.remote.referrers_tag import fallback_tag, list_referrers, referrer_entry
from oci.remote.repository import RemoteRepository
from oci.signing.atomic import ATOMIC

_REFUSES_KIND = frozenset({400, 405, 415, 501})
"""Status codes by which registries that accept only images refuse other manifests."""


class Companions:
    """Pushes the companions of one path's images; each manifest's once."""

    def __init__(
        self, context: PushContext, route: Route, opened: Opened, remote: RemoteRepository, copier: GraphCopier
    ) -> None:
        self._context, self._route, self._remote, self._copier = context, route, remote, copier
        self._snapshot, self._children = opened
        self._seen: set[Digest] = set()
        self.unsigned: dict[Digest, Digest] = {}
        """Manifests whose Atomic signatures the target does not accept yet, each with the root that it belongs to."""

    async def push(self, root: Digest) -> None:
        """Push what refers to a manifest that the target has by now, to the manifests within, and to these referrers again.

        It costs one request for each manifest that has referrers here, and none for others.
        """
        waiting = [root]
        while waiting:
            for subject in list(made_of(self._snapshot, self._children, waiting.pop(), self._seen)):
                referrers = referrers_of(self._context, self._snapshot, self._children, subject)
                if any(map(self._is_atomic, referrers)) and await self._remote.signatures.is_there():
                    await self._add_signatures(subject, root)
                    referrers = [digest for digest in referrers if not self._is_atomic(digest)]
                if referrers:
                    await self._push_referrers(subject, referrers)
                    waiting += referrers

    async def _push_referrers(self, subject: Digest, referrers: Sequence[Digest]) -> None:
        there = await self._there(subject)
        missing = [self._descriptor(digest) for digest in referrers if digest not in there]
        missing = [descriptor for descriptor in missing if await self._push_referrer(descriptor)]
        unlisted = (
            missing if not self._remote.has_referrers_api else [one for one in missing if not self._names(one, subject)]
        )
        if unlisted and not self._context.request.dry_run:
            read = self._context.catalog.manifests.read
            entries = [referrer_entry(await asyncio.to_thread(read, one.digest, one.media_type)) for one in unlisted]
            await list_referrers(self._remote, subject, entries, where=self._route.remote.host)

    async def _there(self, subject: Digest) -> set[Digest]:
        """Return what is listed as referring to a manifest; a list that is refused counts as empty."""
        try:
            return {one.digest for one in await self._remote.referrers(subject)}
        except RemoteUnauthorized as error:
            if error.status != 403:
                raise
            return set()

    async def _push_referrer(self, descriptor: Descriptor) -> bool:
        """Push a referrer; return False, with a note, where the registry accepts none of its kind."""
        try:
            await self._copier.copy(descriptor)
        except RemoteRefused as error:
            if error.status not in _REFUSES_KIND:
                raise
            self._context.log.note(
                f"{self._remote.host} does not accept what refers to images of {self._route.path}: {error.message}"
            )
            return False
        return True

    async def _add_signatures(self, subject: Digest, root: Digest) -> None:
        """Add signatures; a target that does not know the manifest yet gets them once its tag is set.

        So does a Pulp, to which a manifest that was pushed without a tag is nothing but pending.
        """
        try:
            for size in await add_signatures(self._context, self._snapshot, self._remote, subject):
                charge(size)
        except RemoteNotFound:
            self.unsigned[subject] = root

    def _is_atomic(self, digest: Digest) -> bool:
        return self._snapshot.manifests[digest].artifact_type == ATOMIC

    def _names(self, referrer: Descriptor, subject: Digest) -> bool:
        """Return whether a referrer names its subject itself, so that the API lists it."""
        return self._snapshot.manifests[referrer.digest].subject == subject

    def _descriptor(self, digest: Digest) -> Descriptor:
        entry = self._snapshot.manifests[digest]
        return Descriptor(entry.media_type, digest, entry.size)


async def add_signatures(
    context: PushContext, snapshot: Snapshot, remote: RemoteRepository, subject: Digest
) -> list[int]:
    """Put the Atomic signatures of a manifest that the target lacks; return their sizes in bytes.

    Raises RemoteNotFound where the target does not know the manifest.
    """
    found = await asyncio.to_thread(atomic_signatures, context.catalog, snapshot, subject)
    there = await remote.signatures.names(subject)
    missing = [signature for signature in found if signature.name not in there]
    for signature in missing:
        if not context.request.dry_run:
            await remote.signatures.put(subject, signature.to_json())
    return [len(signature.content) for signature in missing]


def referrers_of(context: PushContext, snapshot: Snapshot, children: Children, subject: Digest) -> list[Digest]:
    """Return the selected referrers of a manifest: those that name it, and those in its list under the fallback tag."""
    companions = context.companions
    if not companions.patterns:
        return []
    found = dict.fromkeys(snapshot.referrers.get(subject, ()))
    listed = snapshot.tags.get(fallback_tag(subject))
    if listed is not None:
        found |= dict.fromkeys(digest for digest in children.get(listed, ()) if digest in snapshot.manifests)
    return [digest for digest in found if companions.selects(snapshot.manifests[digest].artifact_type)]


def has_referrers(context: PushContext, snapshot: Snapshot, children: Children, root: Digest) -> bool:
    """Return whether anything refers to a manifest or to one within."""
    if not snapshot.referrers and not any(tag.startswith(("sha256-", "sha512-")) for tag in snapshot.tags):
        return False
    return any(referrers_of(context, snapshot, children, digest) for digest in made_of(snapshot, children, root, set()))
